package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
)

func jpegHeader(data []byte) (header, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return header{}, err
	}
	s := readSegments(data)
	if s.components == 0 {
		return header{}, errors.New("no frame before the first scan")
	}
	// A sample takes a byte, and four more for its coefficient where the picture comes in steps; up to four bytes of colour
	// are made of the samples of a pixel. The sides are filled up to the largest unit.
	perPixel := 1
	if s.progressive {
		perPixel = 5
	}
	filled := func(n int) int { return (n + 31) &^ 31 }
	h := sized(image.Config{Width: filled(c.Width), Height: filled(c.Height)}, int64(perPixel*s.components+4))
	h.width, h.height, h.turn, h.photo = c.Width, c.Height, s.turn, true
	// Counted wherever their mark stands: a decoder that looks for a restart mark may go through a comment.
	h.scans = bytes.Count(data, []byte{0xff, 0xda})
	return h, nil
}

// segments is what stands before the first scan.
type segments struct {
	components  int
	progressive bool
	turn        turn
}

// readSegments walks as the decoder does; up to the first scan the two cannot disagree.
func readSegments(data []byte) segments {
	var s segments
	for at := 2; at+4 <= len(data); {
		if data[at] != 0xff || data[at+1] == 0xff || data[at+1] == 0 {
			at++
			continue
		}
		mark := data[at+1]
		if mark >= 0xd0 && mark <= 0xd7 {
			at += 2
			continue
		}
		length := int(binary.BigEndian.Uint16(data[at+2:]))
		end := at + 2 + length
		if mark == 0xd9 || mark == 0xda || length < 2 || end > len(data) {
			return s
		}
		body := data[at+4 : end]
		switch {
		case mark >= 0xc0 && mark <= 0xc2 && len(body) >= 6:
			s.components, s.progressive = int(body[5]), mark == 0xc2
		case mark == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")):
			s.turn = exifTurn(body[6:])
		}
		at = end
	}
	return s
}

// exifTurn reads the one entry of a camera's notes that changes how the picture looks (EXIF 2.3, tag 0x0112). What cannot be
// read turns nothing.
func exifTurn(tiff []byte) turn {
	var order binary.ByteOrder = binary.BigEndian
	if bytes.HasPrefix(tiff, []byte("II")) {
		order = binary.LittleEndian
	}
	if len(tiff) < 8 {
		return 0
	}
	at := int64(order.Uint32(tiff[4:]))
	if at < 8 || at+2 > int64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		if order.Uint16(entries) == 0x0112 {
			if v := order.Uint16(entries[8:]); v >= 1 && v <= 8 {
				return turn(v)
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// turn is how a picture must be turned to stand upright, by EXIF's numbers 1 to 8; 0 and 1 leave it.
type turn int

func (t turn) apply(src *image.RGBA) *image.RGBA {
	if t <= 1 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	outW, outH := w, h
	if t >= 5 { // the sides change places
		outW, outH = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, outW, outH))
	for y := range outH {
		for x := range outW {
			sx, sy := x, y
			if t >= 5 {
				sx, sy = y, x
			}
			switch t { // 5 mirrors at the diagonal alone
			case 2, 8:
				sx = w - 1 - sx
			case 3, 7:
				sx, sy = w-1-sx, h-1-sy
			case 4, 6:
				sy = h - 1 - sy
			}
			out.SetRGBA(x, y, src.RGBAAt(sx, sy))
		}
	}
	return out
}
