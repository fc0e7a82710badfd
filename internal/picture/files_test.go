package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"
)

// The files of the tests, made here, so that a reader sees what is in them.

var (
	red  = color.NRGBA{200, 40, 40, 255}
	blue = color.NRGBA{40, 40, 200, 255}
)

// halves is red on the left and blue on the right.
func halves(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for x := range w {
		c := red
		if x >= w/2 {
			c = blue
		}
		m.SetNRGBA(x, 0, c)
	}
	for y := range h {
		copy(m.Pix[y*m.Stride:], m.Pix[:m.Stride]) // pixel by pixel would take the race detector a minute
	}
	return m
}

func asPNG(m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func asJPEG(m image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// asGIF is an animation: red and blue, then all black.
func asGIF(w, h int) []byte {
	palette := color.Palette{red, blue, color.Black}
	first, second := image.NewPaletted(image.Rect(0, 0, w, h), palette), image.NewPaletted(image.Rect(0, 0, w, h), palette)
	for i := range second.Pix {
		second.Pix[i] = 2
		if i%w >= w/2 {
			first.Pix[i] = 1
		}
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{first, second}, Delay: []int{10, 10}}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// aside is a GIF whose picture covers only a part of its screen, as pictures of animations may.
func aside() []byte {
	m := image.NewPaletted(image.Rect(30, 10, 70, 30), color.Palette{red, blue})
	for i := range m.Pix {
		if i%40 >= 20 {
			m.Pix[i] = 1
		}
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{m}, Delay: []int{0}, Config: image.Config{Width: 100, Height: 100, ColorModel: m.Palette}}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// segment is one of a JPEG file; withSegment puts it behind the start.
func segment(mark byte, body string) string {
	return string([]byte{0xff, mark, byte((len(body) + 2) >> 8), byte(len(body) + 2)}) + body
}

func withSegment(file []byte, mark byte, body string) []byte {
	return slices.Concat(file[:2], []byte(segment(mark, body)), file[2:])
}

func exif(order binary.AppendByteOrder, orientation uint16) string {
	b := []byte("Exif\x00\x00MM")
	if order == binary.AppendByteOrder(binary.LittleEndian) {
		b = []byte("Exif\x00\x00II")
	}
	b = order.AppendUint32(order.AppendUint16(b, 42), 8)
	b = order.AppendUint16(b, 2)
	for _, entry := range [][2]uint16{{0x010f, 7}, {0x0112, orientation}} {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, entry[0]), 3), 1)
		b = order.AppendUint16(order.AppendUint16(b, entry[1]), 0)
	}
	return string(order.AppendUint32(b, 0)) + "taken at home"
}

// sizedJPEG says another size than it has.
func sizedJPEG(file []byte, w, h uint16) []byte {
	out := bytes.Clone(file)
	at := bytes.Index(out, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(out[at+5:], h)
	binary.BigEndian.PutUint16(out[at+7:], w)
	return out
}

// scans is a progressive JPEG of one scan after the other that each say "all zero" of every block.
func scans(w, h uint16, n int) []byte {
	b := []byte("\xff\xd8" + segment(0xdb, "\x00"+strings.Repeat("\x01", 64)))
	b = append(b, segment(0xc2, string([]byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), 1, 1, 0x11, 0}))...)
	// One code, 0: the end of a band for 2^14 blocks and as many more as 14 bits say.
	b = append(b, segment(0xc4, "\x10\x01"+strings.Repeat("\x00", 15)+"\xe0")...)
	blocks := int(w+7) / 8 * (int(h+7) / 8)
	for range n {
		b = append(b, segment(0xda, "\x01\x01\x00\x01\x3f\x00")...)
		b = append(b, make([]byte, 2*(blocks>>14+1))...)
	}
	return append(b, 0xff, 0xd9)
}

func pngChunk(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// rawPNG has any header, and any bytes where pixels should be.
func rawPNG(w, h uint32, depth, colour byte, pixels []byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	head = append(head, depth, colour, 0, 0, 0)
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head), pngChunk("IDAT", deflated(pixels)), pngChunk("IEND", nil))
}

// behindHeader puts a chunk behind the first one of a PNG.
func behindHeader(file, chunk []byte) []byte {
	const end = 8 + 4 + 4 + 13 + 4
	return slices.Concat(file[:end], chunk, file[end:])
}

func riff(chunks ...string) []byte {
	body := "WEBP"
	for i := 0; i < len(chunks); i += 2 {
		body += chunks[i] + string(binary.LittleEndian.AppendUint32(nil, uint32(len(chunks[i+1])))) + chunks[i+1]
		if len(chunks[i+1])%2 == 1 {
			body += "\x00"
		}
	}
	return []byte("RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body)
}

// vp8x is the header of an extended WebP.
func vp8x(flags byte, w, h int) string {
	b := binary.LittleEndian.AppendUint32([]byte{flags, 0, 0, 0}, uint32(w-1))[:7]
	return string(binary.LittleEndian.AppendUint32(b, uint32(h-1))[:10])
}

// vp8l is a lossless picture of one colour: no pixel takes a bit, so any size takes fourteen bytes.
func vp8l(w, h int, c color.NRGBA) string {
	var out []byte
	var held, n uint
	put := func(value, bits uint) {
		held |= value << n
		for n += bits; n >= 8; n -= 8 {
			out = append(out, byte(held))
			held >>= 8
		}
	}
	put(0x2f, 8)
	put(uint(w-1), 14)
	put(uint(h-1), 14)
	put(1, 1) // transparency
	put(0, 3) // version
	put(0, 3) // no transform, no cache of colours, one group of trees
	for _, v := range []byte{c.G, c.R, c.B, c.A, 0} {
		put(0b101, 3) // simple, one symbol, of eight bits
		put(uint(v), 8)
	}
	put(0, 7)
	return string(out)
}

func decoded64(text string) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Halves of 32 by 16, as a browser's canvas wrote them; in the second one, the corner of 8 by 8 is transparent.
var (
	lossy        = decoded64("UAMAnQEqIAAQAD8ReLJRLCekorAIAYAiCWgAnTKEcAA4TwAA/uC5YO2b/alSVJiB+Kcfcv8f9n3pZoHgAAA=")
	lossyBeneath = decoded64("EAMAnQEqIAAQAD8ReLJRLCekorAIAYAiCWgAsSVAATNYAP7pnfffaV//b6RQZnJK1KiPpYH/uX/628ZfQ62/zQAA")
	alpha        = decoded64("AQ8w/xERQiyY5C+9O4OI/k9AeH4=")
)
