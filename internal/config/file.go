package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func readFile(at entry, mistakes *Mistakes) layer {
	name := strings.TrimSpace(at.text)
	if name == "" {
		return layer{}
	}
	data, err := readLimited(name, maxFile)
	if err != nil {
		mistakes.add(at.source, "", err)
		return layer{}
	}
	return parseFile(name, data, mistakes)
}

// parseFile walks the YAML tree itself instead of decoding it into a struct: only the tree knows the lines, and
// only a walk finds every mistake instead of the first.
func parseFile(name string, data []byte, mistakes *Mistakes) layer {
	w := walker{name: name, layer: layer{}, mistakes: mistakes, keys: names(func(key string) string { return key })}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return w.layer // nothing but comments
	case err != nil:
		w.syntax(err)
		return w.layer
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		w.wrong(&second, "", wrong("keep one document", "a second document"))
	case !errors.Is(err, io.EOF):
		w.syntax(err)
		return w.layer
	}
	if root := doc.Content[0]; root.Kind == yaml.MappingNode {
		w.mapping(root, "")
	} else if root.Tag != "!!null" {
		w.wrong(root, "", wrong("write settings as `key: value`", "not a mapping"))
	}
	return w.layer
}

type walker struct {
	name     string
	layer    layer
	mistakes *Mistakes
	keys     map[string]string
}

func (w *walker) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d", w.name, n.Line) }

func (w *walker) wrong(n *yaml.Node, key string, err error) { w.mistakes.add(w.place(n), key, err) }

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (w *walker) syntax(err error) {
	place, text := w.name, err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = strings.TrimPrefix(text, m[0])
		if m[1] != "" {
			place += ":" + m[1]
		}
	}
	w.mistakes.add(place, "", wrong("write YAML, indented with spaces", "%s", text))
}

func (w *walker) mapping(n *yaml.Node, prefix string) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := prefix + k.Value
		if k.Kind != yaml.ScalarNode {
			w.wrong(k, strings.TrimSuffix(prefix, "."), wrong("write a plain key", "a key that is no text"))
			continue
		}
		if line, ok := seen[key]; ok {
			w.wrong(k, key, wrong("keep one of them", "already set in line %d", line))
			continue
		}
		seen[key] = k.Line
		w.field(k, v, key, prefix)
	}
}

func (w *walker) field(k, v *yaml.Node, key, prefix string) {
	_, leaf := w.keys[key]
	switch group := w.isGroup(key); {
	case !leaf && !group:
		w.wrong(k, key, wrong(w.suggest(key, prefix), "unknown key"))
	case v.Kind == yaml.AliasNode || v.Anchor != "":
		w.wrong(v, key, wrong("write the value out", "anchors and aliases are not read here"))
	case v.Kind == yaml.ScalarNode && v.Tag == "!!null":
		// a key with nothing behind it is a key left out
	case group && v.Kind == yaml.MappingNode:
		w.mapping(v, key+".")
	case group:
		w.wrong(v, key, wrong("write its settings below it, indented", "a value where settings belong"))
	case v.Kind == yaml.MappingNode:
		w.wrong(v, key, wrong("write one value", "settings where a value belongs"))
	case v.Kind == yaml.SequenceNode:
		w.sequence(v, key)
	default:
		w.layer[key] = entry{raw: raw{text: v.Value}, source: w.place(v)}
	}
}

func (w *walker) sequence(n *yaml.Node, key string) {
	e := entry{raw: raw{list: true}, source: w.place(n)}
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" || item.Anchor != "" {
			w.wrong(item, key, wrong("write plain values", "a list item that is no text"))
			continue
		}
		e.items = append(e.items, item.Value)
	}
	w.layer[key] = e
}

func (w *walker) isGroup(key string) bool {
	for known := range w.keys {
		if strings.HasPrefix(known, key+".") {
			return true
		}
	}
	return false
}

// suggest looks among the keys of the same group first, then for the same word in another group: `upstream` at the
// top is meant to be `nx.upstream`.
func (w *walker) suggest(key, prefix string) string {
	var siblings, elsewhere []string
	word := strings.TrimPrefix(key, prefix)
	for known := range w.keys {
		if rest, ok := strings.CutPrefix(known, prefix); ok {
			sibling, _, _ := strings.Cut(rest, ".")
			siblings = append(siblings, prefix+sibling)
		}
		if strings.HasSuffix(known, "."+word) || known == word {
			elsewhere = append(elsewhere, known)
		}
	}
	slices.Sort(siblings)
	slices.Sort(elsewhere)
	if s := didYouMean(key, slices.Compact(siblings)); s != "" {
		return s
	}
	if len(elsewhere) > 0 {
		return "did you mean " + strings.Join(elsewhere, " or ") + "?"
	}
	return "`gatehouse explain config` lists them"
}
