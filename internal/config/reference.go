package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Setting is one row of the table as an operator sees it.
type Setting struct {
	Key     string // in the file; a dot is one level
	Env     string
	Flag    string
	Default string
	Takes   string
	Meaning string
	Secret  bool // may also come from a file: Key, Env and Flag with "_file" (or "-file") at the end
	Toggle  bool // the flag alone means true
}

// Reference lists every setting in the order of the documentation.
func Reference() []Setting {
	out := make([]Setting, len(settings))
	for i, s := range settings {
		out[i] = s.Setting
	}
	return out
}

// sections are the documentation's headings, by the part of a key before its first dot.
var sections = []struct{ group, title string }{
	{"", "The node"},
	{"log", "Log"},
	{"password", "Password hashing"},
	{"limits", "Limits"},
	{"keys", "Signing keys"},
	{"audit", "Audit"},
	{"licence", "Licences"},
	{"nx", "Door: nx"},
	{"insights", "Door: insights"},
	{"titan", "Door: titan"},
	{"openwifi", "Door: openwifi"},
	{"oidc", "Door: oidc"},
}

const preface = `# Configuration

A flag wins over the environment, the environment over the file, the file over the default. The file is YAML and is named by
` + "`--config`" + ` or ` + "`GATEHOUSE_CONFIG`" + `; a dot in a key is one level of it:

` + "```yaml" + `
issuer: https://auth.example.com
trusted_proxies: [10.0.0.0/8]
nx:
  upstream: https://nx.example.com
insights:
  enabled: false
` + "```" + `

- The variable and the flag of a key follow from it: ` + "`nx.access_life`" + ` is ` + "`GATEHOUSE_NX_ACCESS_LIFE`" + ` and ` + "`--nx-access-life`" + `.
- Lists are YAML lists in the file and separated by commas elsewhere.
- Durations are Go's: ` + "`90s`" + `, ` + "`1h30m`" + `, ` + "`720h`" + `.
- An empty variable counts as not set.
- A setting marked **secret** is never printed, and can be read from a file: add ` + "`_FILE`" + ` to its variable, ` + "`_file`" + ` to its key or
  ` + "`-file`" + ` to its flag, and give the path. Master and service key have no flag of their own, because every user of the machine can read flags.
- An unknown key, variable or flag stops the start. All mistakes are reported together, each with its place.

` + "`gatehouse explain config`" + ` prints this page. It is made from the table that the server reads, and a test compares the two.
`

// Markdown is the documentation of every setting.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, sec := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| key | environment | meaning | accepts | default |\n|---|---|---|---|---|\n", sec.title)
		for _, s := range Reference() {
			if group(s.Key) != sec.group {
				continue
			}
			meaning, def := s.Meaning, "empty"
			if s.Secret {
				meaning += " **Secret.**"
			}
			if s.Default != "" {
				def = "`" + s.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Key, s.Env, meaning, s.Takes, def)
		}
	}
	return b.String()
}

func group(key string) string {
	before, _, nested := strings.Cut(key, ".")
	if !nested {
		return ""
	}
	return before
}

// onlySecret are keys that are nothing but a secret. URLs that may carry a password have a flag, since most do not.
var onlySecret = map[string]bool{"master_key": true, "openwifi.service_key": true}

// Flags is a pointer to a struct with one field a setting, tagged for kong (kong.Plugins embeds it), and a function
// that gives those that were set, as Sources wants them.
func Flags() (target any, given func() map[string]string) {
	var fields []reflect.StructField
	var flags []string
	add := func(name, group, meaning, takes string, toggle bool) {
		t := reflect.TypeFor[*string]()
		if toggle {
			t = reflect.TypeFor[*bool]()
		}
		// Markdown's code marks mean nothing in a terminal; quotes and braces mean something to kong.
		help := strings.NewReplacer("`", "", `"`, "").Replace(meaning)
		tag := fmt.Sprintf(`name:%s help:%s group:%s`, strconv.Quote(name), strconv.Quote(help), strconv.Quote(group))
		if !toggle {
			tag += ` placeholder:` + strconv.Quote(takes)
		}
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", len(fields)), Type: t, Tag: reflect.StructTag(tag)})
		flags = append(flags, name)
	}
	titles := map[string]string{}
	for _, sec := range sections {
		titles[sec.group] = sec.title
	}
	add(flagFile, titles[""], "Configuration file.", "FILE", false)
	for _, s := range Reference() {
		title := titles[group(s.Key)]
		if !onlySecret[s.Key] {
			add(s.Flag, title, s.Meaning, "VALUE", s.Toggle)
		}
		if s.Secret {
			add(flagName(s.Key+fileSuffix), title, "File that holds "+s.Key+".", "FILE", false)
		}
	}
	v := reflect.New(reflect.StructOf(fields))
	return v.Interface(), func() map[string]string {
		out := map[string]string{}
		for i, name := range flags {
			if f := v.Elem().Field(i); !f.IsNil() {
				out[name] = fmt.Sprint(f.Elem().Interface())
			}
		}
		return out
	}
}
