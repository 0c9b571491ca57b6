package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbe(t *testing.T) {
	server := httptest.NewServer(handler())
	if code := probe(server.URL + "/healthz"); code != 0 {
		t.Errorf("a server that is well: %d", code)
	}
	if code := probe(server.URL + "/no-such-page"); code != 1 {
		t.Errorf("a page that is missing: %d", code)
	}
	server.Close()
	if code := probe(server.URL + "/healthz"); code != 1 {
		t.Errorf("a server that is gone: %d", code)
	}
}

func TestPage(t *testing.T) {
	for path, want := range map[string]int{"/": http.StatusOK, "/else": http.StatusNotFound} {
		recorder := httptest.NewRecorder()
		handler().ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		if recorder.Code != want {
			t.Errorf("%s: %d, want %d", path, recorder.Code, want)
		}
	}
}
