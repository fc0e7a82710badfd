package openwifi_test

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"regexp"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"gatehouse/internal/dialect/openwifi"
)

// pathOf takes the path out of the document as the UI does.
func pathOf(t testing.TB, svg string) string {
	t.Helper()
	_, rest, found := strings.Cut(svg, `path d="`)
	path, _, closed := strings.Cut(rest, `" fill="#000000"`)
	if !found || !closed || strings.Count(svg, "<path") != 1 {
		t.Fatalf("not one black path: %.200s", svg)
	}
	return path
}

var run = regexp.MustCompile(`^M(\d+),(\d+)h(\d+)v1h-(\d+)z$`)

// render draws a path in its box of 49 × 49, and fails on whatever leaves it.
func render(t testing.TB, path string) image.Image {
	t.Helper()
	const scale = 4
	img := image.NewGray(image.Rect(0, 0, 49*scale, 49*scale))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	for _, part := range strings.Fields(path) {
		found := run.FindStringSubmatch(part)
		if found == nil {
			t.Fatalf("path segment %q", part)
		}
		var x, y, width, back int
		if _, err := fmt.Sscan(strings.Join(found[1:], " "), &x, &y, &width, &back); err != nil {
			t.Fatal(err)
		}
		if x < 4 || y < 4 || x+width > 45 || y > 44 || width != back {
			t.Fatalf("path segment %q leaves the box or its blank border", part)
		}
		draw.Draw(img, image.Rect(x*scale, y*scale, (x+width)*scale, (y+1)*scale), image.NewUniform(color.Black), image.Point{}, draw.Src)
	}
	return img
}

// scan reads a picture as an app's camera does.
func scan(t testing.TB, svg string) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(render(t, pathOf(t, svg)))
	if err != nil {
		t.Fatal(err)
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatalf("the picture cannot be read: %v", err)
	}
	return read.GetText()
}

func TestQRCodes(t *testing.T) {
	for length := 1; length <= openwifi.QRBytes; length += 7 {
		text := strings.Repeat("otpauth://totp/é", length)[:length]
		text = strings.ToValidUTF8(text, "x")[:length]
		svg, err := openwifi.DrawQR(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := scan(t, string(svg)); got != text {
			t.Errorf("read %q, want %q", got, text)
		}
	}
	whole := strings.Repeat("x", openwifi.QRBytes)
	if svg, err := openwifi.DrawQR(whole); err != nil || scan(t, string(svg)) != whole {
		t.Errorf("the longest text: %v", err)
	}
	if _, err := openwifi.DrawQR(whole + "x"); err == nil {
		t.Error("a longer one fits: the bound is wrong")
	}
}
