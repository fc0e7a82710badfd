package openwifi

import (
	"bytes"
	"fmt"
	"image/color"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

// The UI takes the one path out of the document and draws it in a box of 49 × 49 modules (openwifi.md 2.4). Inside it stands a code
// of at most 41 modules, version 6, with the four blank ones on every side that readers need.
const (
	qrBox   = 49
	qrSize  = qrBox - 2*4
	qrBytes = 134 // what a code of version 6 holds with the least error correction
)

// drawQR draws text of at most qrBytes as an SVG document with a single black path. It corrects as much as the box leaves room for.
func drawQR(text string) ([]byte, error) {
	var code barcode.Barcode
	for _, level := range []qr.ErrorCorrectionLevel{qr.H, qr.Q, qr.M, qr.L} {
		var err error
		if code, err = qr.Encode(text, level, qr.Unicode); err != nil {
			return nil, fmt.Errorf("draw a QR code: %w", err)
		}
		if code.Bounds().Dx() <= qrSize {
			break
		}
	}
	size := code.Bounds().Dx()
	if size > qrSize {
		return nil, fmt.Errorf("draw a QR code: %d bytes do not fit", len(text))
	}
	margin := (qrBox - size) / 2
	var path bytes.Buffer
	for y := range size {
		for x := 0; x < size; x++ {
			run := x
			for run < size && code.At(run, y) == color.Black {
				run++
			}
			if run == x {
				continue
			}
			if path.Len() > 0 {
				path.WriteByte(' ')
			}
			fmt.Fprintf(&path, "M%d,%dh%dv1h-%dz", x+margin, y+margin, run-x, run-x)
			x = run
		}
	}
	// The UI looks for `path d="` and `" fill="#000000"`: their order and spelling are part of the contract.
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" version="1.1" viewBox="0 0 %d %d" stroke="none">`+
		`<rect width="100%%" height="100%%" fill="#FFFFFF"/><path d="%s" fill="#000000"/></svg>`, qrBox, qrBox, path.Bytes()), nil
}
