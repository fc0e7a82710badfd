package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/identity"
)

// validator says what is wrong with an answer by the document of the door that gave it: status, headers and body.
type validator func(door identity.Door, in request, a answer) error

func newValidator(t testing.TB, h *house) validator {
	t.Helper()
	known := map[identity.Door]routers.Router{}
	for door, path := range documentPaths {
		doc, err := openapi3.NewLoader().LoadFromData([]byte(h.must(t, request{method: "GET", target: path}).body))
		if err != nil {
			t.Fatal(err)
		}
		doc.Servers = nil
		if known[door], err = gorillamux.NewRouter(doc); err != nil {
			t.Fatal(err)
		}
	}
	passed := map[string]bool{} // reading a schema costs more than most answers do
	validate := func(door identity.Door, in request, a answer) error {
		r := in.prepare()
		r.URL.Scheme, r.URL.Host, r.Body = "http", "gatehouse.test", io.NopCloser(strings.NewReader(in.body))
		route, params, err := known[door].FindRoute(r)
		if err != nil {
			return fmt.Errorf("%s %s is in no document: %w", r.Method, r.URL.Path, err)
		}
		promised := route.Operation.Responses.Status(a.status)
		if promised == nil || promised.Value == nil {
			return fmt.Errorf("status %d is not in the document", a.status)
		}
		if len(promised.Value.Content) == 0 && a.body != "" || len(promised.Value.Content) > 0 && a.body == "" && r.Method != http.MethodHead {
			return fmt.Errorf("body %.80q where the document says otherwise", a.body)
		}
		options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}
		media, _, _ := strings.Cut(a.header.Get("Content-Type"), "/")
		options.ExcludeResponseBody = media == "image" || strings.HasPrefix(a.header.Get("Content-Type"), "text/html") // the library reads neither
		out := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options},
			Status:                 a.status, Header: a.header, Options: options,
		}
		out.SetBodyBytes([]byte(strings.TrimRight(a.body, "\n")))
		return openapi3filter.ValidateResponse(context.Background(), out)
	}
	known[nx.CloudDoor] = known[nx.Door] // one document for both
	return func(door identity.Door, in request, a answer) error {
		header := a.header.Clone()
		header.Del("X-Request-Id")
		path, _, _ := strings.Cut(in.target, "?")
		key := fmt.Sprint(door, in.method, path, a.status, header, a.body)
		if passed[key] {
			return nil
		}
		err := validate(door, in, a)
		passed[key] = err == nil
		return err
	}
}

// The validator sees what it should see.
func TestValidatorFires(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	valid := newValidator(t, h)
	in := request{method: "GET", target: "/auth/configuration"}
	a := h.send(in)
	if err := valid("nx", in, a); err != nil {
		t.Errorf("a good answer: %v", err)
	}
	for name, bad := range map[string]answer{
		"another status":    {http.StatusTeapot, a.header, a.body},
		"another envelope":  {a.status, a.header, `{"error":"x"}`},
		"no body":           {a.status, a.header, ""},
		"another mediatype": {a.status, http.Header{"Content-Type": {"text/plain"}, "Www-Authenticate": {"Bearer"}}, a.body},
	} {
		if valid("nx", in, bad) == nil {
			t.Errorf("%s passes", name)
		}
	}
}
