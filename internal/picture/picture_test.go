package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/identity"
)

// drawn is what a viewer sees of a clean picture.
func drawn(t testing.TB, p Picture) image.Image {
	t.Helper()
	decode := map[string]func([]byte) (image.Image, error){
		PNG:  func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) },
		JPEG: func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) },
	}[p.MediaType]
	if decode == nil {
		t.Fatalf("media type %q", p.MediaType)
	}
	m, err := decode(p.Bytes)
	if err != nil {
		t.Fatalf("what came out as %s is none: %v", p.MediaType, err)
	}
	if m.Bounds() != image.Rect(0, 0, p.Width, p.Height) {
		t.Fatalf("says %d by %d, is %v", p.Width, p.Height, m.Bounds())
	}
	return m
}

func near(a, b color.Color) bool {
	ar, ag, ab, aa := a.RGBA()
	br, bg, bb, ba := b.RGBA()
	for _, d := range []int{int(ar) - int(br), int(ag) - int(bg), int(ab) - int(bb), int(aa) - int(ba)} {
		if d < -0x1800 || d > 0x1800 {
			return false
		}
	}
	return true
}

func TestClean(t *testing.T) {
	seeThrough := halves(40, 20)
	seeThrough.Set(0, 0, color.Transparent)
	gray := image.NewGray16(image.Rect(0, 0, 40, 20))
	tests := []struct {
		name        string
		file        []byte
		mediaType   string
		w, h        int
		left, right color.Color // a quarter from either side
	}{
		{"jpeg", asJPEG(halves(40, 20)), JPEG, 40, 20, red, blue},
		{"png", asPNG(halves(40, 20)), PNG, 40, 20, red, blue},
		{"png with transparency", asPNG(seeThrough), PNG, 40, 20, red, blue},
		{"png, 16 bit gray", asPNG(gray), PNG, 40, 20, color.Black, color.Black},
		{"gif: the first picture of the animation", asGIF(40, 20), PNG, 40, 20, red, blue},
		{"gif: what it covers of its screen", aside(), PNG, 40, 20, red, blue},
		{"webp, lossy", riff("VP8 ", lossy), JPEG, 32, 16, red, blue},
		{"webp, lossy with transparency", riff("VP8X", vp8x(0x10, 32, 16), "ALPH", alpha, "VP8 ", lossyBeneath), PNG, 32, 16, color.NRGBA{179, 56, 64, 255}, color.NRGBA{58, 56, 181, 255}},
		{"webp, lossless", riff("VP8L", vp8l(40, 20, red)), JPEG, 40, 20, red, red},
		{"webp, lossless with transparency", riff("VP8L", vp8l(40, 20, color.NRGBA{})), PNG, 40, 20, color.Transparent, color.Transparent},
		{"one pixel", asPNG(halves(1, 1)), PNG, 1, 1, blue, blue},
		{"just fits", asPNG(halves(512, 300)), PNG, 512, 300, red, blue},
		{"a little too large", asPNG(halves(600, 400)), PNG, 512, 341, red, blue},
		{"much too large", asJPEG(halves(1500, 1000)), JPEG, 512, 341, red, blue},
		{"high", asPNG(halves(100, 2048)), PNG, 25, 512, red, blue},
		{"a stripe", asPNG(halves(9000, 2)), PNG, 512, 1, red, blue},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(Options{}).Clean(t.Context(), tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if p.MediaType != tt.mediaType || p.Width != tt.w || p.Height != tt.h {
				t.Errorf("%s of %d by %d, want %s of %d by %d", p.MediaType, p.Width, p.Height, tt.mediaType, tt.w, tt.h)
			}
			m := drawn(t, p)
			if left, right := m.At(tt.w/4, tt.h/2), m.At(tt.w*3/4, tt.h/2); !near(left, tt.left) || !near(right, tt.right) {
				t.Errorf("shows %v and %v, want %v and %v", left, right, tt.left, tt.right)
			}
		})
	}
}

func TestCleanKeepsTransparency(t *testing.T) {
	file := riff("VP8X", vp8x(0x10, 32, 16), "ALPH", alpha, "VP8 ", lossyBeneath)
	p, err := New(Options{}).Clean(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, a := drawn(t, p).At(2, 2).RGBA(); a != 0 {
		t.Errorf("the corner's opacity is %d", a)
	}
}

// One corner is another colour; where it must be seen, by EXIF's number.
func TestCleanTurnsUpright(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 64, 32))
	for y := range 32 {
		for x := range 64 {
			m.Set(x, y, red)
			if x >= 48 && y < 16 {
				m.Set(x, y, blue)
			}
		}
	}
	file := asJPEG(m)
	const wide, high = 64, 32
	for _, tt := range []struct {
		orientation uint16
		w, h        int
		x, y        int
	}{
		{0, wide, high, 56, 8}, {1, wide, high, 56, 8}, {2, wide, high, 8, 8}, {3, wide, high, 8, 24}, {4, wide, high, 56, 24},
		{5, high, wide, 8, 56}, {6, high, wide, 24, 56}, {7, high, wide, 24, 8}, {8, high, wide, 8, 8}, {9, wide, high, 56, 8},
	} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			p, err := New(Options{}).Clean(t.Context(), withSegment(file, 0xe1, exif(order, tt.orientation)))
			if err != nil {
				t.Fatal(err)
			}
			shown := drawn(t, p)
			if p.Width != tt.w || p.Height != tt.h || !near(shown.At(tt.x, tt.y), blue) || !near(shown.At(tt.w-1-tt.x, tt.h-1-tt.y), red) {
				t.Errorf("%v %d: %d by %d, %v at the corner", order, tt.orientation, p.Width, p.Height, shown.At(tt.x, tt.y))
			}
		}
	}
}

// What is hidden in a picture, or makes it something else too, is not in what comes out.
func TestCleanDropsWhatIsHidden(t *testing.T) {
	const hidden = `*/=1;alert("HIDDEN")//<script>HIDDEN</script>`
	j, p, g := asJPEG(halves(40, 20)), asPNG(halves(40, 20)), asGIF(40, 20)
	zip := []byte("PK\x03\x04" + hidden + "PK\x05\x06")
	javascript := bytes.Replace(asGIF(40, 20), []byte{0x2c, 0, 0, 0, 0}, append(append([]byte{0x21, 0xfe, byte(len(hidden))}, hidden...), 0, 0x2c, 0, 0, 0, 0), 1)
	for name, file := range map[string][]byte{
		"jpeg, comment":             withSegment(j, 0xfe, hidden),
		"jpeg, comment with scans":  withSegment(j, 0xfe, hidden+"\xff\xda\xff\xd9"),
		"jpeg, EXIF":                withSegment(j, 0xe1, exif(binary.BigEndian, 1)+hidden),
		"jpeg, profile of colours":  withSegment(j, 0xe2, "ICC_PROFILE\x00"+hidden),
		"jpeg, behind the end":      append(bytes.Clone(j), hidden...),
		"png, text":                 behindHeader(p, pngChunk("tEXt", []byte("Comment\x00"+hidden))),
		"png, EXIF":                 behindHeader(p, pngChunk("eXIf", []byte(hidden))),
		"png, unknown chunk":        behindHeader(p, pngChunk("heRe", []byte(hidden))),
		"png, compressed text bomb": behindHeader(p, pngChunk("zTXt", append([]byte("Comment\x00\x00"), deflated([]byte(hidden+strings.Repeat("HIDDEN", 1<<20)))...))),
		"png, a zip behind it":      append(bytes.Clone(p), zip...),
		"gif, comment":              javascript,
		"gif, javascript":           append([]byte("GIF89a"), append(g[6:], hidden...)...),
		"webp, EXIF and XMP":        riff("VP8X", vp8x(0x0c, 32, 16), "EXIF", hidden, "XMP ", hidden, "VP8 ", lossy, "XMP ", hidden),
		"webp, behind the end":      append(riff("VP8 ", lossy), hidden...),
	} {
		t.Run(name, func(t *testing.T) {
			clean, err := New(Options{}).Clean(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			drawn(t, clean)
			for _, trace := range []string{"HIDDEN", "script", "taken at home", "PK\x03\x04", "Exif", "ICC"} {
				if bytes.Contains(clean.Bytes, []byte(trace)) {
					t.Errorf("%q came through", trace)
				}
			}
		})
	}
}

type refusal struct {
	name string
	file []byte
	want error
}

// refused are files that must not get in.
func refused() []refusal {
	j, p, g, w := asJPEG(halves(400, 200)), asPNG(halves(40, 20)), asGIF(40, 20), riff("VP8L", vp8l(40, 20, red))
	noTrees := riff("VP8 ", lossy)
	cut := func(b []byte, part int) []byte { return b[:len(b)*part/10] }
	damaged := func(b []byte) []byte {
		out := bytes.Clone(b)
		for i := len(out) / 2; i < len(out)/2+8; i++ {
			out[i] ^= 0x5a
		}
		return out
	}
	return []refusal{
		{"nothing", nil, identity.Invalid},
		{"text", []byte("ada"), identity.Invalid},
		{"html", []byte("<!doctype html><script>alert(1)</script>"), identity.Invalid},
		{"html that begins like a gif", []byte("GIF89a<script>alert(1)</script>"), identity.TooLarge},
		{"pdf", []byte("%PDF-1.7"), identity.Invalid},
		{"bmp", append([]byte("BM"), make([]byte, 100)...), identity.Invalid},
		{"tiff", []byte("II*\x00\x08\x00\x00\x00"), identity.Invalid},
		{"svg, compressed", []byte("\x1f\x8b\x08\x00"), identity.Invalid},
		{"script before a png", append([]byte("<script>"), p...), identity.Invalid},
		{"wav", []byte("RIFF\x10\x00\x00\x00WAVEfmt "), identity.Invalid},

		{"jpeg, only its mark", j[:3], identity.Invalid},
		{"jpeg, cut in its header", j[:30], identity.Invalid},
		{"jpeg, cut", cut(j, 7), identity.Invalid},
		{"png, only its mark", p[:8], identity.Invalid},
		{"png, cut", cut(p, 7), identity.Invalid},
		{"png, no pixels", rawPNG(40, 20, 8, 2, nil), identity.Invalid},
		{"png, more pixels than it says", rawPNG(4, 4, 8, 0, make([]byte, 1000)), identity.Invalid},
		{"png, damaged", damaged(p), identity.Invalid},
		{"gif, cut", g[:60], identity.Invalid},
		{"gif, no picture", append(bytes.Clone(g[:13]), 0x3b), identity.Invalid},
		{"webp, cut", cut(noTrees, 5), identity.Invalid},
		{"webp, no picture", riff("VP8X", vp8x(0, 4, 4)), identity.Invalid},
		{"webp, animated", riff("VP8X", vp8x(2, 32, 16), "ANIM", "\x00\x00\x00\x00\x00\x00", "ANMF", string(w)), identity.Invalid},

		{"png of no width", rawPNG(0, 20, 8, 2, nil), identity.Invalid},
		{"gif of no height", []byte("GIF89a\x04\x00\x00\x00\x00\x00\x00;"), identity.Invalid},
		{"gif, picture outside of its screen", bytes.Replace(g, []byte{0x2c, 0, 0, 0, 0, 40, 0}, []byte{0x2c, 0, 0, 0, 0, 99, 0}, 1), identity.Invalid},
		{"jpeg that says it is larger", sizedJPEG(j, 4000, 2000), identity.Invalid},
		{"jpeg of two frames", bytes.Replace(j, []byte{0xff, 0xc0}, append([]byte{0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0}, 0xff, 0xc0), 1), identity.Invalid},
		{"webp, a large picture in a small canvas", riff("VP8X", vp8x(0, 4, 4), "VP8L", vp8l(16000, 2000, red)), identity.Invalid},

		{"jpeg bomb", sizedJPEG(j, 65000, 65000), identity.TooLarge},
		{"jpeg of many scans", scans(6000, 4000, 20_000), identity.Invalid},
		{"progressive jpeg that takes its memory twice", scans(5000, 4990, 1), identity.TooLarge},
		{"png bomb", rawPNG(50_000, 50_000, 8, 2, make([]byte, 1<<20)), identity.TooLarge},
		{"png bomb of the largest sides", rawPNG(1<<31-1, 1<<31-1, 8, 2, nil), identity.Invalid},
		{"png of 16 bits that takes its memory twice", rawPNG(6000, 6000, 16, 6, nil), identity.TooLarge},
		{"png as high as anything", rawPNG(1, 30_000_000, 1, 0, nil), identity.TooLarge},
		{"gif bomb", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02"), identity.TooLarge},
		{"webp bomb of a few bytes", riff("VP8L", vp8l(16384, 16384, red)), identity.TooLarge},
		{"webp bomb beneath its canvas", riff("VP8X", vp8x(0x10, 1<<24, 127), "ALPH", alpha, "VP8 ", lossyBeneath), identity.TooLarge},
		{"2,000,000 bytes", append(bytes.Clone(p), make([]byte, 2_000_000-len(p))...), identity.TooLarge},
	}
}

func TestCleanRefuses(t *testing.T) {
	for _, tt := range refused() {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := New(Options{}).Clean(t.Context(), tt.file)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%s of %d bytes, %v, want %v", p.MediaType, len(p.Bytes), err, tt.want)
			}
			if identity.Describe(err).Public == "" || errors.Is(err, errPanic) {
				t.Errorf("refused with %v", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; errors.Is(err, identity.TooLarge) && used > 1<<20 {
				t.Errorf("refusing took %d bytes of memory", used)
			}
		})
	}
	if p, err := New(Options{}).Clean(t.Context(), append(asPNG(halves(40, 20)), make([]byte, 1_000_000)...)); err != nil || len(p.Bytes) > 1000 {
		t.Errorf("just a large one: %d bytes, %v", len(p.Bytes), err)
	}
}

// The promise of a plan is that decoding takes no more.
func TestPlanCoversWhatDecodingTakes(t *testing.T) {
	gray := image.NewGray16(image.Rect(0, 0, 1200, 600))
	deep := image.NewNRGBA64(image.Rect(0, 0, 1200, 600))
	for name, file := range map[string][]byte{
		"jpeg": asJPEG(halves(1200, 600)), "jpeg, progressive": scans(1200, 600, 10), "png": asPNG(halves(1200, 600)),
		"png, gray": asPNG(gray), "png, deep": asPNG(deep), "gif": asGIF(1200, 600),
		"webp": riff("VP8L", vp8l(1200, 600, red)), "webp, with transparency": riff("VP8L", vp8l(1200, 600, color.NRGBA{A: 9})),
		"webp, lossy": riff("VP8 ", lossy),
	} {
		c := New(Options{})
		_, planned, err := c.plan(file)
		if err != nil {
			t.Fatal(name, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := c.Clean(t.Context(), file); err != nil {
			t.Fatal(name, err)
		}
		runtime.ReadMemStats(&after)
		// Beside the decoding: the file's buffers, the small picture, its encoding.
		if used, most := int64(after.TotalAlloc-before.TotalAlloc), planned+4<<20; used > most {
			t.Errorf("%s: took %d bytes, planned were %d", name, used, planned)
		}
	}
}

// held is a Cleaner with one worker that is busy until the test says go.
func held(t *testing.T, queue int) (c *Cleaner, release func()) {
	t.Helper()
	c = New(Options{Workers: 1, Queue: queue})
	release, err := c.enter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return c, release
}

func TestCleanWaitsThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, release := held(t, 3)
		file := asPNG(halves(40, 20))
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if _, err := c.Clean(t.Context(), file); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		_, err := c.Clean(t.Context(), file)
		if !errors.Is(err, identity.Busy) || identity.Describe(err).RetryAfter <= 0 {
			t.Errorf("the fourth got %v", err)
		}
		if _, err := c.Clean(t.Context(), []byte("text")); !errors.Is(err, identity.Invalid) {
			t.Errorf("what can be refused at a glance got %v", err)
		}
		release()
		group.Wait()
		if _, err := c.Clean(t.Context(), file); err != nil {
			t.Error("afterwards: ", err)
		}
	})
}

func TestWhoGoesAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, release := held(t, 1)
		defer release()
		file := asPNG(halves(40, 20))
		for range 2 { // the second one finds the place free again
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() {
				if _, err := c.Clean(ctx, file); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			synctest.Wait()
			cancel()
			group.Wait()
		}
	})
}

func TestDecodingStopsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := New(Options{})
	file := asJPEG(halves(1200, 600))
	clean, _, err := c.plan(file)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := clean(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("decoded on: %v", err)
	}
}

func TestAPanicIsARefusal(t *testing.T) {
	_, err := guarded(t.Context(), nil, func(context.Context, []byte) (Picture, error) { panic("slipped") })
	if !errors.Is(err, identity.Invalid) || !errors.Is(err, errPanic) || strings.Contains(identity.Describe(err).Public, "slipped") {
		t.Errorf("got %v", err)
	}
}

// At once, under the room's limits, each gets her own.
func TestCleanAtOnce(t *testing.T) {
	c := New(Options{Workers: 4, Queue: 16})
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			p, err := c.Clean(t.Context(), asPNG(halves(40+i, 20)))
			if err != nil || p.Width != 40+i {
				t.Errorf("%d wide, %v", p.Width, err)
			}
		})
	}
	group.Wait()
}

func FuzzClean(f *testing.F) {
	const side = 64
	for _, tt := range refused() {
		if len(tt.file) < 10_000 {
			f.Add(tt.file)
		}
	}
	for _, file := range [][]byte{
		asJPEG(halves(20, 10)), withSegment(asJPEG(halves(20, 10)), 0xe1, exif(binary.LittleEndian, 6)), scans(64, 64, 3), asPNG(halves(20, 10)), asGIF(20, 10),
		riff("VP8 ", lossy), riff("VP8L", vp8l(80, 20, red)), riff("VP8X", vp8x(0x10, 32, 16), "ALPH", alpha, "VP8 ", lossyBeneath),
	} {
		f.Add(file)
	}
	for _, tt := range svgClean {
		f.Add([]byte(tt.in))
	}
	for _, tt := range svgRefused {
		f.Add([]byte(tt.in))
	}
	c := New(Options{MaxPixels: 1 << 20, Side: side, MaxBytes: 1 << 16})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := c.Clean(t.Context(), data)
		if err != nil {
			if kind := identity.KindOf(err); kind != identity.Invalid && kind != identity.TooLarge || errors.Is(err, errPanic) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if p.MediaType == SVG {
			again, err := c.Clean(t.Context(), p.Bytes)
			if err != nil || !bytes.Equal(again.Bytes, p.Bytes) {
				t.Fatalf("cleaned again, %v:\n%s\n%s", err, p.Bytes, again.Bytes)
			}
			return
		}
		if b := drawn(t, p).Bounds(); b.Dx() > side || b.Dy() > side {
			t.Fatalf("%v came out", b)
		}
	})
}

func BenchmarkClean(b *testing.B) {
	for _, size := range [][2]int{{200, 200}, {1024, 1024}, {4000, 3000}} {
		for name, file := range map[string][]byte{"jpeg": asJPEG(halves(size[0], size[1])), "png": asPNG(halves(size[0], size[1]))} {
			b.Run(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), func(b *testing.B) {
				c := New(Options{})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Clean(b.Context(), file); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Twelve people upload the largest picture at once. Whatever is decoded fits into the one room, so all together take no more of
// memory than that and what the collector has not come round to yet; side by side they would take 1,200 MiB.
func TestManyLargestAtOnce(t *testing.T) {
	const people, side = 12, 5000
	file := asPNG(halves(side, side))
	c := New(Options{Workers: people, Queue: people})
	if _, memory, err := c.plan(file); err != nil || memory < side*side*4 || memory > c.opt.Memory {
		t.Fatalf("a picture of %d bytes takes %d of %d, %v", len(file), memory, c.opt.Memory, err)
	}
	runtime.GC()
	inUse := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before := inUse()
	var group sync.WaitGroup
	for range people {
		group.Go(func() {
			if _, err := c.Clean(t.Context(), file); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var peak int64
	for running := true; running; {
		select {
		case <-tick.C:
			peak = max(peak, inUse()-before)
		case <-done:
			running = false
		}
	}
	t.Logf("%d pictures of %d million pixels: %d MiB at most", people, side*side/1_000_000, peak>>20)
	if peak > 3*c.opt.Memory {
		t.Errorf("took %d MiB at once, the room has %d", peak>>20, c.opt.Memory>>20)
	}
}
