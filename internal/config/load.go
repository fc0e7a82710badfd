package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Sources is where Load looks.
type Sources struct {
	Flags   map[string]string // flag name without dashes; what was not given is not in it
	Environ []string          // as os.Environ
}

const (
	envPrefix  = "GATEHOUSE_"
	envFile    = envPrefix + "CONFIG"
	flagFile   = "config"
	fileSuffix = "_file" // names a file that holds a secret
	maxFile    = 1 << 20
	maxSecret  = 64 << 10
)

// layer is what one source gives: by key, a value and where it stands.
type layer map[string]entry

type entry struct {
	raw
	source string
}

// Load reads the configuration. Its error is a Mistakes with every mistake of every source.
func Load(from Sources) (Config, error) {
	var mistakes Mistakes
	env, file := readEnvironment(from.Environ, &mistakes)
	flags := readFlags(from.Flags, &mistakes)
	if f, ok := from.Flags[flagFile]; ok {
		file = entry{raw: raw{text: f}, source: "--" + flagFile}
	}
	layers := []layer{readFile(file, &mistakes), env, flags}
	for _, l := range layers {
		l.openSecretFiles(&mistakes)
	}

	c := Config{origin: map[string]string{}}
	broken := map[string]bool{}
	for _, s := range settings {
		if err := s.parse(&c, raw{text: s.Default}); err != nil {
			mistakes.add("default", s.Key, err)
		}
		// A value that a later source overrides is read too: it would come to light when that source goes away.
		for _, l := range layers {
			e, ok := l[s.Key]
			if !ok {
				continue
			}
			err := s.parse(&c, e.raw)
			mistakes.add(e.source, s.Key, err)
			broken[s.Key] = err != nil
			c.origin[s.Key] = e.source
		}
	}
	c.derive()
	c.validate(&mistakes, broken)
	if err := mistakes.orNil(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func flagName(key string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// names lists, by what name gives for a key, every key that can be set, secrets also through a file.
func names(name func(string) string) map[string]string {
	all := map[string]string{}
	for _, s := range settings {
		all[name(s.Key)] = s.Key
		if s.Secret {
			all[name(s.Key+fileSuffix)] = s.Key + fileSuffix
		}
	}
	return all
}

// readEnvironment also gives the configuration file that the environment names. An empty variable counts as not
// set, since compose files and unit files write one for "nothing".
func readEnvironment(environ []string, mistakes *Mistakes) (l layer, file entry) {
	l = layer{}
	known := names(envName)
	candidates := append(slices.Sorted(maps.Keys(known)), envFile)
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		switch key, ok := known[name]; {
		case name == envFile:
			file = entry{raw: raw{text: value}, source: name}
		case !ok && foreignVariable(name):
		case !ok:
			*mistakes = append(*mistakes, Mistake{Source: name, Problem: "unknown variable", Remedy: didYouMean(name, candidates)})
		case value != "":
			l[key] = entry{raw: raw{text: value}, source: name}
		}
	}
	return l, file
}

// foreignVariable knows the names below our prefix that others put into the environment: Kubernetes describes a
// service called "gatehouse" to every pod beside it, and our own tests have switches.
func foreignVariable(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "SERVICE_HOST" || rest == "SERVICE_PORT" || strings.HasPrefix(rest, "SERVICE_PORT_") ||
		rest == "PORT" || strings.HasPrefix(rest, "PORT_") ||
		strings.HasPrefix(rest, "TEST_")
}

func readFlags(given map[string]string, mistakes *Mistakes) layer {
	l := layer{}
	known := names(flagName)
	candidates := append(slices.Sorted(maps.Keys(known)), flagFile)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		key, ok := known[name]
		switch {
		case name == flagFile:
		case !ok:
			*mistakes = append(*mistakes, Mistake{Source: "--" + name, Problem: "unknown flag", Remedy: didYouMean(name, candidates)})
		default:
			l[key] = entry{raw: raw{text: given[name]}, source: "--" + name}
		}
	}
	return l
}

// openSecretFiles replaces what names a secret's file by what the file holds.
func (l layer) openSecretFiles(mistakes *Mistakes) {
	for _, s := range settings {
		at := s.Key + fileSuffix
		e, ok := l[at]
		if !ok {
			continue
		}
		delete(l, at)
		name, err := single(e.raw)
		if err != nil {
			mistakes.add(e.source, at, err)
			continue
		}
		if name == "" {
			continue
		}
		if twin, ok := l[s.Key]; ok {
			mistakes.add(e.source, at, wrong("keep one of them", "%s gives the same secret", twin.source))
			continue
		}
		data, err := readLimited(name, maxSecret)
		text := strings.TrimSpace(string(data))
		if err == nil && text == "" {
			err = wrong("write the secret into it", "%s is empty", name)
		}
		if err != nil {
			mistakes.add(e.source, at, err)
			continue
		}
		l[s.Key] = entry{raw: raw{text: text}, source: e.source + " (" + name + ")"}
	}
}

func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cannotRead(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, cannotRead(name, err)
	}
	if int64(len(data)) > most {
		return nil, wrong("name the right file", "%s is larger than %d bytes", name, most)
	}
	return data, nil
}

func cannotRead(name string, err error) error {
	remedy := "check the path"
	if errors.Is(err, fs.ErrPermission) {
		remedy = "let the user that runs gatehouse read it"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return wrong(remedy, "cannot read %s: %v", name, err)
}

// Validate reports every mistake of a Config that was put together by hand.
func (c Config) Validate() error {
	var mistakes Mistakes
	c.validate(&mistakes, nil)
	return mistakes.orNil()
}

// validate leaves out what cannot be judged because a value of it could not be read.
func (c *Config) validate(mistakes *Mistakes, broken map[string]bool) {
	for _, s := range settings {
		if broken[s.Key] {
			continue
		}
		if err := s.check(c); err != nil {
			mistakes.add(c.place(s.Key), s.Key, err)
			if broken != nil {
				broken[s.Key] = true
			}
		}
	}
	for _, r := range rules {
		if slices.ContainsFunc(r.keys, func(k string) bool { return broken[k] }) {
			continue
		}
		key := r.keys[0]
		if i := slices.IndexFunc(r.keys, c.given); i >= 0 { // blame what the operator wrote, not a default
			key = r.keys[i]
		}
		mistakes.add(c.place(key), key, r.check(c))
	}
}

func (c *Config) place(key string) string {
	if c.given(key) {
		return c.Origin(key)
	}
	return key
}

// Value is one effective setting.
type Value struct{ Key, Value, Origin string }

// Values lists the effective settings in the order of the documentation; secrets are redacted.
func (c Config) Values() []Value {
	out := make([]Value, len(settings))
	for i, s := range settings {
		out[i] = Value{s.Key, s.show(&c), c.Origin(s.Key)}
		var d Config // its value as it is shown: 60s is 1m
		if _ = s.parse(&d, raw{text: s.Default}); out[i].Origin == "default" && s.show(&d) != out[i].Value {
			out[i].Origin = "derived"
		}
	}
	return out
}

func (v Value) String() string { return fmt.Sprintf("%s=%s (%s)", v.Key, v.Value, v.Origin) }
