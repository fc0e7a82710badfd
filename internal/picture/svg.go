package picture

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// An SVG is a program for whoever opens it: scripts, styles, fetched files, shapes that multiply. What comes out is written
// by us, from elements and attributes that only draw.
//
// What draws nothing is left out: comments, metadata, a document type without declarations, what an editor keeps in its own
// namespace, attributes that are not listed. What draws, or acts, and is not listed is refused by its name, since a picture
// with a hole is not what its owner uploaded. `use`, patterns, masks and filters are not listed because a few of them inside
// each other keep a browser busy for hours.

const (
	svgSpace   = "http://www.w3.org/2000/svg"
	xhtmlSpace = "http://www.w3.org/1999/xhtml"

	maxDepth    = 64
	maxElements = 10_000
	svgMemory   = 16 // times its bytes: tokens, attributes, what is written
)

// svgElements may stand in a picture; true where text may stand inside.
var svgElements = map[string]bool{
	"svg": false, "g": false, "defs": false, "path": false, "rect": false, "circle": false, "ellipse": false, "line": false,
	"polyline": false, "polygon": false, "linearGradient": false, "radialGradient": false, "stop": false, "clipPath": false,
	"text": true, "tspan": true, "title": true, "desc": true,
}

// inert elements of SVG draw nothing and do nothing, and are left out with all that is in them.
var inert = []string{"metadata"}

// svgAttributes may stand at an element. Those that are properties too may come inside style="" and then win.
var svgAttributes = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields(`id viewBox preserveAspectRatio x y width height rx ry cx cy r x1 y1 x2 y2 fx fy fr
		points d pathLength transform offset gradientTransform gradientUnits spreadMethod clipPathUnits dx dy rotate textLength`) {
		all[name] = false
	}
	for _, name := range strings.Fields(`fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap
		stroke-linejoin stroke-miterlimit stroke-dasharray stroke-dashoffset opacity color stop-color stop-opacity clip-path
		clip-rule display visibility overflow paint-order vector-effect shape-rendering text-rendering font-family font-size
		font-weight font-style text-anchor dominant-baseline letter-spacing word-spacing`) {
		all[name] = true
	}
	return all
}()

var (
	// No colon, slash or backslash: no address and no CSS escape can be written with these.
	plainValue = regexp.MustCompile(`^[\pL\pN .,#%()+_'"-]*$`)
	anchor     = regexp.MustCompile(`^#[\pL_][\pL\pN_.-]*$`)
	idValue    = regexp.MustCompile(`^[\pL_][\pL\pN_.-]*$`)
	localURL   = regexp.MustCompile(`(?i)url\( ?(?:"(#[\pL_][\pL\pN_.-]*)"|'(#[\pL_][\pL\pN_.-]*)'|(#[\pL_][\pL\pN_.-]*)) ?\)`)
	function   = regexp.MustCompile(`([\pL_-][\pL\pN_-]*)? ?\(`)
	functions  = []string{"matrix", "translate", "rotate", "scale", "skewX", "skewY", "rgb", "rgba", "hsl", "hsla"}
)

func looksLikeXML(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\ufeff")), " \t\r\n"), []byte("<"))
}

func svgRefusal(words string) error { return identity.Invalid.Because("the SVG picture " + words) }

func (c *Cleaner) svg(ctx context.Context, data []byte) (Picture, error) {
	if !utf8.Valid(data) {
		return Picture{}, svgRefusal("is not UTF-8")
	}
	s := svgWriter{xml: xml.NewDecoder(reader(ctx, bytes.TrimPrefix(data, []byte("\ufeff"))))}
	if err := s.document(); err != nil {
		if ctx.Err() != nil {
			return Picture{}, ctx.Err()
		}
		return Picture{}, err
	}
	if s.out.Len() >= c.opt.MaxBytes { // end tags written out can make it grow
		return Picture{}, c.TooLarge()
	}
	return Picture{MediaType: SVG, Bytes: s.out.Bytes()}, nil
}

// svgWriter writes anew what it reads.
type svgWriter struct {
	xml      *xml.Decoder
	out      bytes.Buffer
	open     []string // the elements that are written and not ended
	elements int
	rooted   bool
}

func (s *svgWriter) document() error {
	for {
		token, err := s.xml.Token()
		if errors.Is(err, io.EOF) && s.rooted {
			return nil
		}
		if err != nil {
			return &identity.Error{Kind: identity.Invalid, Public: "the SVG picture is not well-formed", Err: err}
		}
		switch t := token.(type) {
		case xml.StartElement:
			err = s.start(t)
		case xml.EndElement:
			s.out.WriteString("</" + s.open[len(s.open)-1] + ">")
			s.open = s.open[:len(s.open)-1]
		case xml.CharData:
			err = s.text(t)
		case xml.ProcInst:
			if t.Target != "xml" || s.rooted {
				err = svgRefusal("has a processing instruction, which is not allowed")
			}
		case xml.Directive:
			if bytes.ContainsAny(t, "[") || !bytes.HasPrefix(t, []byte("DOCTYPE")) {
				err = svgRefusal("declares entities, which is not allowed")
			}
		}
		if err != nil {
			return err
		}
	}
}

func (s *svgWriter) text(t xml.CharData) error {
	blank := len(bytes.TrimSpace(t)) == 0
	if len(s.open) == 0 {
		if !blank {
			return svgRefusal("has text outside of it")
		}
		return nil
	}
	if svgElements[s.open[len(s.open)-1]] {
		return xml.EscapeText(&s.out, t)
	}
	return nil
}

func (s *svgWriter) start(t xml.StartElement) error {
	name := t.Name.Local
	if err := s.count(); err != nil {
		return err
	}
	if len(s.open) == 0 && (s.rooted || t.Name != xml.Name{Space: svgSpace, Local: "svg"}) {
		return svgRefusal("is not one svg element in its namespace")
	}
	switch t.Name.Space {
	case svgSpace:
	case "", xhtmlSpace:
		return svgRefusal("has an element of another language in it, which is not allowed: " + shown(name))
	default:
		return s.leaveOut()
	}
	if slices.Contains(inert, name) {
		return s.leaveOut()
	}
	if _, listed := svgElements[name]; !listed || len(s.open) > 0 && slices.Contains([]string{"title", "desc"}, s.open[len(s.open)-1]) {
		return svgRefusal("has an element that is not allowed: " + shown(name))
	}
	attributes, err := s.attributes(name, t.Attr)
	if err != nil {
		return err
	}
	s.out.WriteString("<" + name)
	if !s.rooted {
		s.out.WriteString(` xmlns="` + svgSpace + `"`)
		s.rooted = true
	}
	for _, a := range attributes {
		s.out.WriteString(" " + a.name + `="`)
		if err := xml.EscapeText(&s.out, []byte(a.value)); err != nil {
			return err
		}
		s.out.WriteString(`"`)
	}
	s.out.WriteString(">")
	s.open = append(s.open, name)
	if len(s.open) > maxDepth {
		return svgRefusal("is nested too deep")
	}
	return nil
}

func (s *svgWriter) count() error {
	if s.elements++; s.elements > maxElements {
		return svgRefusal("has too many elements")
	}
	return nil
}

// leaveOut reads to the end of an element whose start was read.
func (s *svgWriter) leaveOut() error {
	for depth := 1; depth > 0; {
		token, err := s.xml.Token()
		if err != nil {
			return &identity.Error{Kind: identity.Invalid, Public: "the SVG picture is not well-formed", Err: err}
		}
		switch token.(type) {
		case xml.StartElement:
			if err := s.count(); err != nil {
				return err
			}
			if depth++; depth > maxDepth {
				return svgRefusal("is nested too deep")
			}
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

type attribute struct{ name, value string }

// attributes gives those of one element that are written, in order.
func (s *svgWriter) attributes(element string, given []xml.Attr) ([]attribute, error) {
	var kept []attribute
	put := func(name, value string) error {
		clean, err := s.value(element, name, value)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(kept, func(a attribute) bool { return a.name == name }); i >= 0 {
			kept[i].value = clean
		} else {
			kept = append(kept, attribute{name, clean})
		}
		return nil
	}
	seen := map[xml.Name]bool{}
	style := ""
	for _, a := range given {
		name := a.Name.Local
		if seen[a.Name] {
			return nil, svgRefusal("has an attribute twice: " + shown(name))
		}
		seen[a.Name] = true
		_, listed := svgAttributes[name]
		var err error
		switch lower := strings.ToLower(name); {
		case a.Name.Space == "" && strings.HasPrefix(lower, "on"):
			return nil, svgRefusal("has an attribute that is not allowed: " + shown(name))
		case lower == "href" || lower == "src":
			target := strings.TrimSpace(a.Value)
			if !anchor.MatchString(target) {
				return nil, svgRefusal("refers to something outside of it, which is not allowed")
			}
			if element == "linearGradient" || element == "radialGradient" {
				kept = slices.DeleteFunc(kept, func(k attribute) bool { return k.name == "href" })
				kept = append(kept, attribute{"href", target})
			}
		case a.Name.Space != "":
		case name == "style":
			style = a.Value
		case listed:
			err = put(name, a.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	for declaration := range strings.SplitSeq(style, ";") {
		property, value, _ := strings.Cut(declaration, ":")
		if property = strings.ToLower(strings.TrimSpace(property)); svgAttributes[property] {
			if err := put(property, value); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// value holds an attribute against what may stand in one.
func (s *svgWriter) value(element, name, value string) (string, error) {
	value = strings.Join(strings.Fields(value), " ")
	refused := svgRefusal("has an attribute with a value that is not allowed: " + shown(name))
	if !plainValue.MatchString(value) || name == "id" && !idValue.MatchString(value) {
		return "", refused
	}
	// What remains once the references to its own parts are taken out has no other url(), and no function that is unknown.
	if strings.Contains(value, "(") { // a path of a megabyte has none
		for _, call := range function.FindAllStringSubmatch(localURL.ReplaceAllString(value, ""), -1) {
			if !slices.Contains(functions, call[1]) {
				return "", refused
			}
		}
	}
	// Clips of the parts of a clip multiply as use does.
	if name == "clip-path" && (element == "clipPath" || slices.Contains(s.open, "clipPath")) {
		return "", svgRefusal("clips a clip, which is not allowed")
	}
	return value, nil
}

// shown is a stranger's name as it may stand in an answer.
func shown(name string) string {
	const most = 40
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '?'
	}, name)
	return plain[:min(len(plain), most)]
}
