package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"

	"gatehouse/internal/core/system"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// reloads are what a running node can read again. Templates and caches are this node's own; what the store holds is the same for
// all, and read again only in case this node missed something.
func (h *House) reloads() map[logs.Subsystem]func(context.Context) error {
	forget := func(listeners ...func([]identity.Change)) func(context.Context) error {
		return func(context.Context) error {
			for _, listen := range listeners {
				listen([]identity.Change{{Kind: identity.EverythingChanged, At: h.now()}})
			}
			return nil
		}
	}
	return map[logs.Subsystem]func(context.Context) error{
		logs.Delivery: func(context.Context) error {
			templates, err := deliver.LoadTemplates(h.Config.MailTemplates)
			if err == nil {
				h.Outbox.Templates.Replace(templates)
			}
			return err
		},
		// The listeners read files that changed at the next handshake by themselves: this says whether they can.
		logs.HTTP: func(context.Context) error {
			if h.Config.TLSCert == "" {
				return nil
			}
			_, err := tls.LoadX509KeyPair(h.Config.TLSCert, h.Config.TLSKey)
			return err
		},
		logs.Keys:     forget(h.Ring.Listen),
		logs.Sessions: forget(h.Sessions.Changed),
		logs.Storage:  func(ctx context.Context) error { return forget(h.Feed.Listeners...)(ctx) }, // not there yet when this is made
		logs.System:   func(ctx context.Context) error { return h.System.Refresh(ctx) },
	}
}

// process says which program this is.
func (h *House) process(version string) system.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	names := map[string]string{"linux": "Linux", "darwin": "macOS", "windows": "Windows"}
	name := names[runtime.GOOS]
	if name == "" {
		name = runtime.GOOS
	}
	var r resources
	return system.Process{
		Version: version, StartedAt: h.now(), OS: name, Processors: runtime.NumCPU(), Hostname: host,
		Certificates: h.certificates, Resources: r.read,
	}
}

// certificates gives the one that the listeners serve, as its file says now.
func (h *House) certificates() []system.Certificate {
	if h.Config.TLSCert == "" {
		return nil
	}
	text, err := os.ReadFile(h.Config.TLSCert)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return []system.Certificate{{File: filepath.Base(h.Config.TLSCert), ExpiresAt: leaf.NotAfter}}
	}
	return nil
}

// resources remembers the peaks where the system does not.
type resources struct {
	resident, addresses atomic.Int64
}

// read asks Linux's /proc, and elsewhere Go's own count of its memory.
func (p *resources) read() system.Resources {
	if r, ok := procResources("/proc/self"); ok {
		return r
	}
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(samples)
	all, released := int64(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64())
	return system.Resources{
		Resident: all - released, PeakResident: raise(&p.resident, all-released), AddressSpace: all, PeakAddresses: raise(&p.addresses, all),
	}
}

func raise(peak *atomic.Int64, to int64) int64 {
	for {
		old := peak.Load()
		if to <= old {
			return old
		}
		if peak.CompareAndSwap(old, to) {
			return to
		}
	}
}

// procResources reads what Linux says of a process in its folder.
func procResources(folder string) (system.Resources, bool) {
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return system.Resources{}, false
	}
	var r system.Resources
	into := map[string]*int64{"VmRSS": &r.Resident, "VmHWM": &r.PeakResident, "VmSize": &r.AddressSpace, "VmPeak": &r.PeakAddresses}
	found := 0
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if p := into[name]; p != nil && err == nil {
			*p = kib << 10
			found++
		}
	}
	if open, err := os.ReadDir(filepath.Join(folder, "fd")); err == nil {
		r.Files = len(open)
	}
	return r, found == len(into)
}
