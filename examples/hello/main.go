// A web server for one page, and the probe that asks whether it is well.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

//go:embed page.html
var page []byte

func main() {
	listen := flag.String("listen", ":8080", "address to listen on")
	health := flag.Bool("health", false, "ask the server that is running, and exit 0 when it is well")
	flag.Parse()
	if *health {
		os.Exit(probe("http://127.0.0.1" + *listen + "/healthz"))
	}
	if err := serve(*listen); err != nil {
		log.Fatal(err)
	}
}

// handler answers / with the page and /healthz with "ok".
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// serve runs until SIGTERM or SIGINT, and then finishes what it has begun.
func serve(address string) error {
	server := &http.Server{Addr: address, Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		<-stop.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(grace)
	}()
	log.Printf("listening on %s as user %d", address, os.Getuid())
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// probe is the HEALTHCHECK: the image has no shell and no curl, so the program asks itself.
func probe(url string) int {
	client := &http.Client{Timeout: time.Second}
	response, err := client.Get(url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	if response.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}
