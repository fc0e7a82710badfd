package picture

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"gatehouse/internal/identity"
)

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">`

func manyRects(n int) string {
	return svgHead + strings.Repeat(`<rect x="1" y="2" width="3" height="4"/>`, n) + `</svg>`
}

var svgClean = []struct{ name, in, want string }{
	{"shapes", svgHead + `<path d="M0 0
		L10,10z" fill="#c03030"/></svg>`, `<path d="M0 0 L10,10z" fill="#c03030"></path>`},
	{"order of attributes", svgHead + `<rect width="3" x="1" fill-opacity=".5" transform="rotate(45, 2,3) scale(2)"/></svg>`,
		`<rect width="3" x="1" fill-opacity=".5" transform="rotate(45, 2,3) scale(2)"></rect>`},
	{"with a declaration and a plain document type", `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">` + "\n" + svgHead + `<g/></svg>` + "\n", `<g></g>`},
	{"with a mark of byte order", "\ufeff" + svgHead + `<g/></svg>`, `<g></g>`},
	{"prefixed", `<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:g/></s:svg>`, `<g></g>`},
	{"gradient", svgHead + `<defs><linearGradient id="a"><stop offset="0" stop-color="red"/></linearGradient><radialGradient id="b" xlink:href="#a"/></defs><rect fill="url(#b)"/></svg>`,
		`<defs><linearGradient id="a"><stop offset="0" stop-color="red"></stop></linearGradient><radialGradient id="b" href="#a"></radialGradient></defs><rect fill="url(#b)"></rect>`},
	{"reference in quotes", svgHead + `<rect fill="url( '#b' ) red"/></svg>`, `<rect fill="url( &#39;#b&#39; ) red"></rect>`},
	{"style becomes attributes, and wins", svgHead + `<rect fill="red" style="fill:#00f; stroke-width : 2px;-inkscape-stroke:none;background:url(http://evil.test/)"/></svg>`, `<rect fill="#00f" stroke-width="2px"></rect>`},
	{"text", svgHead + `<text x="1" font-family="'DejaVu Sans', serif">A &amp; <tspan>B&lt;</tspan></text><title>Ada's</title></svg>`,
		`<text x="1" font-family="&#39;DejaVu Sans&#39;, serif">A &amp; <tspan>B&lt;</tspan></text><title>Ada&#39;s</title>`},
	{"text as data", svgHead + `<text><![CDATA[<script>]]></text></svg>`, `<text>&lt;script&gt;</text>`},
	{"comments, metadata and an editor's own are left out", svgHead + `<!-- <script> --><metadata><rdf:RDF xmlns:rdf="r"><script xmlns="s">x</script></rdf:RDF></metadata>
		<sodipodi:namedview xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd" id="x"><x/></sodipodi:namedview><g xmlns:i="i" i:export-filename="/home/ada/me.png" i:onclick="x" class="a" data-name="Ada"/></svg>`, `<g></g>`},
	{"text where none is drawn", svgHead + `alert(1)<g>alert(2)</g></svg>`, `<g></g>`},
	{"an address that is not written", svgHead + `<g cursor="url(http://evil.test/)" href="#x"/></svg>`, `<g></g>`},
}

func TestSVGIsWrittenAnew(t *testing.T) {
	c := New(Options{})
	for _, tt := range svgClean {
		t.Run(tt.name, func(t *testing.T) {
			p, err := c.Clean(t.Context(), []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if want := `<svg xmlns="http://www.w3.org/2000/svg">` + tt.want + `</svg>`; string(p.Bytes) != want || p.MediaType != SVG {
				t.Errorf("%s\n got %s\nwant %s", p.MediaType, p.Bytes, want)
			}
			again, err := c.Clean(t.Context(), p.Bytes)
			if err != nil || !bytes.Equal(again.Bytes, p.Bytes) {
				t.Errorf("cleaned again, %v: %s", err, again.Bytes)
			}
		})
	}
}

var svgRefused = []struct{ name, in, says string }{
	{"script", svgHead + `<script>alert(1)</script></svg>`, "script"},
	{"script, prefixed", `<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:script>alert(1)</s:script></s:svg>`, "script"},
	{"script of HTML", svgHead + `<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script></svg>`, "script"},
	{"script in a title", svgHead + `<title><script>alert(1)</script></title></svg>`, "script"},
	{"a shape in a title", svgHead + `<title><g/></title></svg>`, "g"},
	{"event", svgHead + `<g onload="alert(1)"/></svg>`, "onload"},
	{"event at the root", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, "onload"},
	{"event in other letters", svgHead + `<g OnClick="alert(1)"/></svg>`, "OnClick"},
	{"HTML inside", svgHead + `<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"/></foreignObject></svg>`, "foreignObject"},
	{"picture of another site", svgHead + `<image href="http://evil.test/x.png"/></svg>`, "image"},
	{"picture inside", svgHead + `<image href="data:image/svg+xml;base64,PHN2Zz4="/></svg>`, "image"},
	{"use of another file", svgHead + `<use xlink:href="http://evil.test/x.svg#a"/></svg>`, "use"},
	{"shapes that multiply", svgHead + `<defs><g id="a"><use href="#b"/><use href="#b"/></g></defs></svg>`, "use"},
	{"clips that multiply", svgHead + `<clipPath id="a"><rect clip-path="url(#b)"/><rect clip-path="url(#b)"/></clipPath></svg>`, "clip"},
	{"clips that multiply, in style", svgHead + `<clipPath id="a"><g><rect style="clip-path:url(#b)"/></g></clipPath></svg>`, "clip"},
	{"link", svgHead + `<a href="javascript:alert(1)"/></svg>`, "a"},
	{"gradient of another file", svgHead + `<linearGradient href="http://evil.test/x.svg#a"/></svg>`, "refers"},
	{"gradient with a script", svgHead + `<linearGradient xlink:href="javascript:alert(1)"/></svg>`, "refers"},
	{"style", svgHead + `<style>@import url(http://evil.test/);</style></svg>`, "style"},
	{"style with an address", svgHead + `<g style="fill:url(http://evil.test/#a)"/></svg>`, "fill"},
	{"style with an escape", svgHead + `<g style="fill:u\72l(x)"/></svg>`, "fill"},
	{"address", svgHead + `<g fill="url(http://evil.test/#a)"/></svg>`, "fill"},
	{"address without a scheme", svgHead + `<g fill="url(//evil.test)"/></svg>`, "fill"},
	{"address beside", svgHead + `<g fill="url(evil.svg#a)"/></svg>`, "fill"},
	{"address in the root's clip", svgHead + `<g clip-path="url('evil.svg')"/></svg>`, "clip-path"},
	{"address in other letters", svgHead + `<g fill="URL(evil.svg)"/></svg>`, "fill"},
	{"address by another function", svgHead + `<g fill="src('evil.svg')"/></svg>`, "fill"},
	{"address after one's own", svgHead + `<g fill="url(#a) url(evil.svg)"/></svg>`, "fill"},
	{"address around one's own", svgHead + `<g fill="url(url(#a)evil.svg)"/></svg>`, "fill"},
	{"address with an escape", svgHead + `<g fill="u\72l(evil.svg)"/></svg>`, "fill"},
	{"address with a comment", svgHead + `<g fill="url/**/(evil.svg)"/></svg>`, "fill"},
	{"animation", svgHead + `<g><animate attributeName="href" to="javascript:alert(1)"/></g></svg>`, "animate"},
	{"setting", svgHead + `<set attributeName="onload" to="alert(1)"/></svg>`, "set"},
	{"filter", svgHead + `<filter id="f"><feImage href="http://evil.test/"/></filter></svg>`, "filter"},
	{"pattern", svgHead + `<pattern id="p"/></svg>`, "pattern"},
	{"entities", `<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + svgHead + `<text>&b;</text></svg>`, "entities"},
	{"entity of a file", `<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + svgHead + `<text>&a;</text></svg>`, "entities"},
	{"entity that nobody declared", svgHead + `<text>&nbsp;</text></svg>`, "well-formed"},
	{"stylesheet", `<?xml-stylesheet href="http://evil.test/x.css"?>` + svgHead + `</svg>`, "instruction"},
	{"stylesheet inside", svgHead + `<?php echo 1 ?></svg>`, "instruction"},
	{"html", `<html><body/></html>`, "svg element"},
	{"no namespace", `<svg><g/></svg>`, "svg element"},
	{"another namespace", `<svg xmlns="http://evil.test/"><g/></svg>`, "svg element"},
	{"two of them", svgHead + `</svg>` + svgHead + `</svg>`, "svg element"},
	{"script behind it", svgHead + `</svg><script>alert(1)</script>`, "svg element"},
	{"text behind it", svgHead + `</svg>PK`, "text"},
	{"attribute twice", svgHead + `<g fill="red" fill="blue"/></svg>`, "twice"},
	{"id with markup", svgHead + `<g id="a&quot;b"/></svg>`, "id"},
	{"not ended", svgHead + `<g>`, "well-formed"},
	{"ended too often", svgHead + `</svg></svg>`, "well-formed"},
	{"nothing but a comment", `<!-- svg -->`, "well-formed"},
	{"other encoding", `<?xml version="1.0" encoding="UTF-7"?>` + svgHead + `</svg>`, "well-formed"},
	{"not UTF-8", svgHead + "<text>\xff</text></svg>", "UTF-8"},
	{"UTF-16", "<\x00s\x00v\x00g\x00>\x00", "well-formed"},
	{"deep", svgHead + strings.Repeat("<g>", 1000), "deep"},
	{"deep where it is left out", svgHead + "<metadata>" + strings.Repeat("<g>", 1000), "deep"},
	{"many", manyRects(20_000), "many"},
	{"many where they are left out", svgHead + "<metadata>" + strings.Repeat("<g/>", 20_000) + "</metadata></svg>", "many"},
}

func TestSVGIsRefused(t *testing.T) {
	c := New(Options{})
	for _, tt := range svgRefused {
		t.Run(tt.name, func(t *testing.T) {
			p, err := c.Clean(t.Context(), []byte(tt.in))
			if !errors.Is(err, identity.Invalid) {
				t.Fatalf("%v: %s", err, p.Bytes)
			}
			if said := identity.Describe(err).Public; !strings.Contains(said, tt.says) {
				t.Errorf("said %q, want a word of %q", said, tt.says)
			}
		})
	}
}

// The names in a refusal are a stranger's too.
func TestShown(t *testing.T) {
	if got := shown("a<b>\u202e" + strings.Repeat("x", 100)); got != "a?b??"+strings.Repeat("x", 35) {
		t.Errorf("shown is %q", got)
	}
}

func TestSVGMayNotGrowOverTheLimit(t *testing.T) {
	file := svgHead + strings.Repeat("<radialGradient/>", 1000) + "</svg>" // each becomes twice as long
	if _, err := New(Options{MaxBytes: 20_000}).Clean(t.Context(), []byte(file)); !errors.Is(err, identity.TooLarge) {
		t.Errorf("got %v", err)
	}
}
