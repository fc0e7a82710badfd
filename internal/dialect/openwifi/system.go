package openwifi

import (
	"encoding/json"
	"net/http"
	"path"
	"strings"

	"gatehouse/internal/core/staff"
	"gatehouse/internal/core/system"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// systemRoutes are /system, /systemEndpoints, /systemServices, /systemSecret (openwifi.md 1.9, 1.13, 1.14, 2.8), and what is not
// built of their neighbours.
func (d *Dialect) systemRoutes() []httpkit.Route {
	return append(d.aboutRoutes(d.by),
		d.route(http.MethodGet, base+"/systemEndpoints", "systemEndpoints", d.endpointsForUser),
		// Configuration values are passwords as often as not, and the log goes to whoever runs the process.
		d.route(http.MethodGet, base+"/systemConfiguration", "unbuilt", unbuilt),
		d.route(http.MethodPut, base+"/systemConfiguration", "unbuilt", unbuilt),
		d.route(http.MethodDelete, base+"/systemConfiguration", "unbuilt", unbuilt),
		d.route(http.MethodGet, base+"/ws", "unbuilt", unbuilt),
	)
}

// systemServiceRoutes are those of the internal listener: the same, and where other services announce themselves.
func (d *Dialect) systemServiceRoutes() []httpkit.Route {
	return append(d.aboutRoutes(d.byOrService),
		d.route(http.MethodGet, base+"/systemEndpoints", "systemEndpoints", d.endpointsForService),
		d.route(http.MethodPut, base+"/systemServices", "joinServices", d.join),
		d.route(http.MethodDelete, base+"/systemServices", "leaveServices", d.leave),
	)
}

// aboutRoutes are what both listeners have.
func (d *Dialect) aboutRoutes(asks asker) []httpkit.Route {
	route := func(method, path, op string, h asked) httpkit.Route {
		return d.route(method, base+path, op, d.asking(asks, h))
	}
	return []httpkit.Route{
		route(http.MethodGet, "/system", "system", d.system),
		route(http.MethodPost, "/system", "systemCommand", d.command),
		route(http.MethodGet, "/systemServices", "systemServices", d.services),
		route(http.MethodGet, "/systemSecret/{key}", "readSecret", d.readSecret),
		route(http.MethodPut, "/systemSecret/{key}", "saveSecret", d.saveSecret),
		route(http.MethodDelete, "/systemSecret/{key}", "deleteSecret", d.deleteSecret),
	}
}

// peerOf is the service that calls, after byService; in the audit log it is the client.
func (d *Dialect) peerOf(r *http.Request) staff.By {
	by := staff.By{Caller: d.caller(r), Service: true}
	by.ClientID = identity.ClientID(r.Header.Get("X-Internal-Name"))
	return by
}

// unbuilt refuses what the contract leaves to us and we leave out.
func unbuilt(http.ResponseWriter, *http.Request) error { return notBuiltHere }

var notBuiltHere = numbered{identity.Invalid.Because("this is not part of this service"), notBuilt}

// levelWords are the contract's words for levels (openwifi.md 1.14).
var levelWords = [...]string{
	logs.None: "none", logs.Fatal: "fatal", logs.Critical: "critical", logs.Error: "error", logs.Warning: "warning",
	logs.Notice: "notice", logs.Information: "information", logs.Debug: "debug", logs.Trace: "trace",
}

// allParts stands for all parts of the house: in setloglevel, and in reload.
const (
	allParts  = "all"
	allDaemon = "daemon"
)

// system answers GET /system: the process about itself.
func (d *Dialect) system(w http.ResponseWriter, _ *http.Request, _ staff.By, q query) error {
	command, err := q.text("command")
	if err != nil {
		return err
	}
	p := &d.System.Process
	switch command {
	case "info":
		return writeJSON(w, http.StatusOK, d.info())
	case "extraConfiguration":
		return writeJSON(w, http.StatusOK, extraConfiguration{})
	case "resources":
		r := p.Resources()
		return writeJSON(w, http.StatusOK, resources{
			Files: r.Files, Resident: r.Resident >> 10, PeakResident: r.PeakResident >> 10, Addresses: r.AddressSpace >> 10, PeakAddresses: r.PeakAddresses >> 10,
		})
	}
	return noCommand
}

var noCommand = numbered{identity.Invalid.In("command", "is missing or unknown"), badCommand}

func (d *Dialect) info() systemInfo {
	p := &d.System.Process
	info := systemInfo{
		Version: p.Version, Uptime: int64(d.Now().Sub(p.StartedAt).Seconds()), Start: p.StartedAt.Unix(), OS: p.OS, Processors: p.Processors,
		Hostname: p.Hostname, UI: d.UI, Certificates: []certificate{},
	}
	for _, c := range p.Certificates() {
		info.Certificates = append(info.Certificates, certificate{path.Base(c.File), unix(c.ExpiresAt), unix(c.ExpiresAt)})
	}
	return info
}

// command answers POST /system. Its query means nothing (openwifi.md 1.14).
func (d *Dialect) command(w http.ResponseWriter, r *http.Request, who staff.By, _ query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	command, _ := body.text("command")
	if body.mistake != nil {
		return body.mistake
	}
	switch strings.ToLower(command) {
	case "setloglevel":
		return d.setLevels(w, r, who, body)
	case "getloglevels":
		list := tagList{}
		for _, part := range logs.Subsystems() {
			list.Tags = append(list.Tags, tag{string(part), levelWords[d.System.Levels.Of(part)]})
		}
		return writeJSON(w, http.StatusOK, list)
	case "getloglevelnames":
		return writeJSON(w, http.StatusOK, names{levelWords[:]})
	case "getsubsystemnames":
		var list names
		for _, part := range logs.Subsystems() {
			list.List = append(list.List, string(part))
		}
		return writeJSON(w, http.StatusOK, list)
	case "reload":
		return d.reload(w, r, who, body)
	}
	return noCommand
}

func (d *Dialect) setLevels(w http.ResponseWriter, r *http.Request, who staff.By, body *object) error {
	wrong := identity.Invalid.In("subsystems", "must be a list of objects with tag and value")
	var list []struct{ Tag, Value *string }
	if err := json.Unmarshal(body.fields["subsystems"], &list); err != nil || list == nil {
		return wrong
	}
	to := map[logs.Subsystem]logs.Level{}
	for _, entry := range list {
		if entry.Tag == nil || entry.Value == nil {
			return wrong
		}
		level, known := levelOf(*entry.Value)
		if !known {
			return identity.Invalid.In("value", "is no log level")
		}
		parts := []logs.Subsystem{logs.Subsystem(strings.ToLower(*entry.Tag))}
		if parts[0] == allParts {
			parts = logs.Subsystems()
		}
		for _, part := range parts {
			to[part] = level
		}
	}
	if err := d.System.SetLevels(r.Context(), who, to); err != nil {
		return err
	}
	return writeDone(w, r)
}

func levelOf(word string) (logs.Level, bool) {
	for level, known := range levelWords {
		if strings.EqualFold(known, word) {
			return logs.Level(level), true
		}
	}
	return 0, false
}

func (d *Dialect) reload(w http.ResponseWriter, r *http.Request, who staff.By, body *object) error {
	var list []*string
	if err := json.Unmarshal(body.fields["subsystems"], &list); err != nil || list == nil {
		return identity.Invalid.In("subsystems", "must be a list of names")
	}
	var parts []logs.Subsystem
	for _, name := range list {
		switch {
		case name == nil:
			return identity.Invalid.In("subsystems", "must be a list of names")
		case strings.EqualFold(*name, allDaemon) || strings.EqualFold(*name, allParts):
			parts = append(parts, logs.Subsystems()...)
		default:
			parts = append(parts, logs.Subsystem(strings.ToLower(*name)))
		}
	}
	if err := d.System.Reload(r.Context(), who, parts); err != nil {
		return err
	}
	return writeDone(w, r)
}

// services answers GET /systemServices: where the other services are and what opens them. With root's token the keys are blank
// (openwifi.md 1.13).
func (d *Dialect) services(w http.ResponseWriter, r *http.Request, who staff.By, _ query) error {
	peers, err := d.System.Peers(r.Context(), who)
	if err != nil {
		return err
	}
	list := serviceList{Version: 1, Services: []peer{}}
	if who.Service {
		list.Key = d.Key.Reveal()
	}
	for _, p := range peers {
		if strings.EqualFold(p.Type, ownType) {
			continue
		}
		out := peer{PrivateURI: p.PrivateURI, PublicURI: p.PublicURI}
		if who.Service {
			out.Token = d.keyOf(p.Service, p.Key)
		}
		list.Services = append(list.Services, out)
	}
	return writeJSON(w, http.StatusOK, list)
}

// join answers PUT /systemServices, which is ours: a service announces itself, and does so again before the time is up.
func (d *Dialect) join(w http.ResponseWriter, r *http.Request) error {
	who, err := d.service(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	var in system.Peer
	var key string
	in.Type, in.PublicURI = body.needed("type"), body.needed("publicURI")
	in.PrivateURI, _ = body.text("privateURI")
	key, _ = body.text("key")
	if in.Key = identity.Secret(key); body.mistake != nil {
		return body.mistake
	}
	if strings.EqualFold(in.Type, ownType) {
		return identity.Invalid.In("type", "is this service's own")
	}
	out, err := d.System.Join(r.Context(), who, in)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, joined{out.Type, out.Number, out.PublicURI, out.PrivateURI, out.ExpiresAt.Unix()})
}

// leave answers DELETE /systemServices.
func (d *Dialect) leave(w http.ResponseWriter, r *http.Request) error {
	who, err := d.service(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	kind, err := q.text("type")
	if err != nil {
		return err
	}
	uri, err := q.text("publicURI")
	if err != nil {
		return err
	}
	if err := d.System.Leave(r.Context(), who, kind, uri); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// service is another service and nobody else: registering is no person's business.
func (d *Dialect) service(r *http.Request) (staff.By, error) {
	service, err := d.byService(r)
	if err == nil && !service {
		err = identity.ClientMissing
	}
	return d.peerOf(r), err
}

// knownSecrets are the names that UIs ask for.
var knownSecrets = []knownSecret{{"google.maps.apikey", "Key with which web pages load maps."}}

// readSecret answers GET /systemSecret/{key}: one, all of them, or the names that pages know.
func (d *Dialect) readSecret(w http.ResponseWriter, r *http.Request, who staff.By, q query) error {
	ctx := r.Context()
	switch {
	case q.flag("all"):
		list, err := d.System.Secrets(ctx, who)
		if err != nil {
			return err
		}
		out := secretList{Secrets: []secret{}}
		for _, s := range list {
			out.Secrets = append(out.Secrets, secret{s.Key, s.Value.Reveal()})
		}
		return writeJSON(w, http.StatusOK, out)
	case q.flag("dictionary"):
		if err := d.System.MayReadSecrets(ctx, who); err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, secretDictionary{knownSecrets})
	}
	s, err := d.System.Secret(ctx, who, r.PathValue("key"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, secret{s.Key, s.Value.Reveal()})
}

// saveSecret answers PUT /systemSecret/{key}. The value is better sent in the body: queries stand in the logs of proxies.
func (d *Dialect) saveSecret(w http.ResponseWriter, r *http.Request, who staff.By, q query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	value, given := body.text("value")
	if body.mistake != nil {
		return body.mistake
	}
	if !given {
		if value, err = q.text("value"); err != nil {
			return err
		}
	}
	s := system.Secret{Key: r.PathValue("key"), Value: identity.Secret(value)}
	if err := d.System.SaveSecret(r.Context(), who, s); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, secret{s.Key, value})
}

func (d *Dialect) deleteSecret(w http.ResponseWriter, r *http.Request, who staff.By, _ query) error {
	if err := d.System.DeleteSecret(r.Context(), who, r.PathValue("key")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

type systemInfo struct {
	Version      string        `json:"version"`
	Uptime       int64         `json:"uptime"`
	Start        int64         `json:"start"`
	OS           string        `json:"os"`
	Processors   int           `json:"processors"`
	Hostname     string        `json:"hostname"`
	UI           string        `json:"UI"`
	Certificates []certificate `json:"certificates"`
}

type certificate struct {
	File      string `json:"filename"`
	ExpiresOn int64  `json:"expiresOn"`
	Expires   int64  `json:"expires"` // the definition's name of expiresOn
}

type extraConfiguration struct {
	Additional bool `json:"additionalConfiguration"`
}

// resources are in KiB but for the count of files.
type resources struct {
	Files         int   `json:"numberOfFileDescriptors"`
	Resident      int64 `json:"currRealMem"`
	PeakResident  int64 `json:"peakRealMem"`
	Addresses     int64 `json:"currVirtMem"`
	PeakAddresses int64 `json:"peakVirtMem"`
}

type tagList struct {
	Tags []tag `json:"tagList"`
}

type tag struct {
	Tag   string `json:"tag"`
	Value string `json:"value"`
}

type names struct {
	List []string `json:"list"`
}

type serviceList struct {
	Key      string `json:"key"`
	Version  int    `json:"version"`
	Services []peer `json:"services"`
}

type peer struct {
	PrivateURI string `json:"privateURI"`
	PublicURI  string `json:"publicURI"`
	Token      string `json:"token"`
}

type joined struct {
	Type       string `json:"type"`
	ID         int64  `json:"id"`
	PublicURI  string `json:"publicURI"`
	PrivateURI string `json:"privateURI"`
	ExpiresOn  int64  `json:"expiresOn"`
}

type secret struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type secretList struct {
	Secrets []secret `json:"secrets"`
}

type knownSecret struct {
	Key         string `json:"key"`
	Description string `json:"description"`
}

type secretDictionary struct {
	Known []knownSecret `json:"knownKeys"`
}
