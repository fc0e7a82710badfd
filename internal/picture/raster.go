package picture

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"gatehouse/internal/identity"
)

// format is one kind of pixel picture that is read.
type format struct {
	name   string
	magic  string // '?' stands for any byte
	header func(data []byte) (header, error)
	decode func(io.Reader) (image.Image, error)
}

// header is what a file says of itself before anything is decoded.
type header struct {
	width, height int
	memory        int64 // what decoding it may take, at most
	scans         int   // how often decoding may go over all pixels; 0 is once
	turn          turn
	photo         bool // comes out as JPEG unless something shows through
}

var formats = []format{
	{"JPEG", "\xff\xd8\xff", jpegHeader, jpeg.Decode},
	{"PNG", "\x89PNG\r\n\x1a\n", pngHeader, png.Decode},
	{"GIF", "GIF87a", gifHeader, gif.Decode},
	{"GIF", "GIF89a", gifHeader, gif.Decode}, // Decode stops behind the first picture of an animation
	{"WebP", "RIFF????WEBPVP8", webpHeader, webp.Decode},
}

func formatOf(data []byte) (format, bool) {
	for _, f := range formats {
		if len(data) >= len(f.magic) && matches(f.magic, data) {
			return f, true
		}
	}
	return format{}, false
}

func matches(magic string, data []byte) bool {
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

func sized(c image.Config, bytesPerPixel int64) header {
	return header{width: c.Width, height: c.Height, memory: bytesPerPixel * int64(c.Width) * int64(c.Height)}
}

func pngHeader(data []byte) (header, error) {
	c, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return header{}, err
	}
	perPixel := int64(6) // four bytes, and half as many again for the last pass of an interlaced one
	switch c.ColorModel {
	case color.NRGBA64Model, color.RGBA64Model, color.Gray16Model:
		perPixel = 12
	}
	return sized(c, perPixel), nil
}

func gifHeader(data []byte) (header, error) {
	c, err := gif.DecodeConfig(bytes.NewReader(data))
	return sized(c, 2), err
}

func webpHeader(data []byte) (header, error) {
	c, err := webp.DecodeConfig(bytes.NewReader(data))
	h := sized(c, 3)
	if bytes.Contains(data, []byte("VP8L")) || bytes.Contains(data, []byte("ALPH")) {
		h = sized(c, 12) // the pixels, a copy for a transform, transparency
		// The lossless form may bring 2600 groups of Huffman trees, each of 54 KB from 155 bytes.
		h.memory += min(350*int64(len(data)), 141<<20)
	}
	h.photo = true
	return h, err
}

func (c *Cleaner) raster(ctx context.Context, f format, h header, data []byte) (Picture, error) {
	decoded, err := f.decode(reader(ctx, data))
	if err != nil {
		if ctx.Err() != nil {
			return Picture{}, ctx.Err()
		}
		return Picture{}, unreadable(f.name, err)
	}
	if b := decoded.Bounds(); b.Empty() || b.Dx() > h.width || b.Dy() > h.height {
		return Picture{}, unreadable(f.name, nil)
	}
	small := h.turn.apply(shrink(decoded, c.opt.Side))
	p := Picture{MediaType: PNG, Width: small.Rect.Dx(), Height: small.Rect.Dy()}
	var out bytes.Buffer
	if h.photo && small.Opaque() {
		p.MediaType = JPEG
		err = jpeg.Encode(&out, small, &jpeg.Options{Quality: 90})
	} else {
		err = png.Encode(&out, small)
	}
	if err != nil {
		return Picture{}, identity.Internal.Wrap(err)
	}
	p.Bytes = out.Bytes()
	return p, nil
}

// shrink makes both sides fit, the relation of the two kept. First whole blocks of pixels become one, then the rest is
// scaled by less than two: as good as a filter over all of it, without that filter's memory.
func shrink(src image.Image, side int) *image.RGBA {
	b := src.Bounds()
	longer := max(b.Dx(), b.Dy())
	fit := func(n int) int {
		if longer <= side {
			return n
		}
		return max(1, (n*side+longer/2)/longer)
	}
	target := image.Rect(0, 0, fit(b.Dx()), fit(b.Dy()))
	if block := longer / side; block > 1 {
		src = average(src, block)
		b = src.Bounds()
	}
	out := image.NewRGBA(target)
	if b.Size() == target.Size() {
		draw.Draw(out, target, src, b.Min, draw.Src)
	} else {
		draw.ApproxBiLinear.Scale(out, target, src, b, draw.Src, nil)
	}
	return out
}

// average makes one pixel of each block; those at the far edges may be narrower.
func average(src image.Image, block int) *image.RGBA {
	pixels, direct := src.(image.RGBA64Image)
	b := src.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, (b.Dx()+block-1)/block, (b.Dy()+block-1)/block))
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			area := image.Rect(0, 0, block, block).Add(b.Min).Add(image.Pt(x*block, y*block)).Intersect(b)
			var sum [4]uint64
			for sy := area.Min.Y; sy < area.Max.Y; sy++ {
				for sx := area.Min.X; sx < area.Max.X; sx++ {
					var p color.RGBA64
					if direct { // without an allocation for each pixel; all decoders' types have it
						p = pixels.RGBA64At(sx, sy)
					} else {
						p = color.RGBA64Model.Convert(src.At(sx, sy)).(color.RGBA64)
					}
					sum[0], sum[1], sum[2], sum[3] = sum[0]+uint64(p.R), sum[1]+uint64(p.G), sum[2]+uint64(p.B), sum[3]+uint64(p.A)
				}
			}
			n := uint64(area.Dx() * area.Dy())
			out.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n >> 8), uint8(sum[1] / n >> 8), uint8(sum[2] / n >> 8), uint8(sum[3] / n >> 8)})
		}
	}
	return out
}
