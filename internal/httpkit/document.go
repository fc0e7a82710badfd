package httpkit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is bytes that stay for a while: it is answered from memory, and with 304 to whoever has it already.
type Document struct {
	Body         []byte
	ETag         string // quoted
	ContentType  string
	CacheControl string
}

// NewDocument works out the entity tag.
func NewDocument(body []byte, contentType, cacheControl string) Document {
	sum := sha256.Sum256(body)
	return Document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, contentType, cacheControl}
}

func (d Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", d.CacheControl)
	h.Set("ETag", d.ETag)
	if Holds(r, d.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", d.ContentType)
	_, _ = w.Write(d.Body) // it fails where the client has gone
}

// Holds says whether the client has what this entity tag names. It compares weakly (RFC 9110, section 13.1.2).
func Holds(r *http.Request, etag string) bool {
	for candidate := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if c := strings.TrimSpace(candidate); c == "*" || strings.TrimPrefix(c, "W/") == etag {
			return true
		}
	}
	return false
}

// OpenAPI gives a door's embedded document, written in YAML, as JSON. It panics where that is none: each door's tests read it.
func OpenAPI(source []byte) Document {
	var tree any
	err := yaml.Unmarshal(source, &tree)
	var body []byte
	if err == nil {
		body, err = json.Marshal(tree)
	}
	if err != nil {
		panic(fmt.Sprintf("an embedded OpenAPI document cannot be read: %v", err))
	}
	return NewDocument(body, "application/json", "public, max-age=300")
}
