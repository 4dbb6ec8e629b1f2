package main

import "github.com/tidemark-sync/tidemark/internal/serve"

// loadStatus is how busy the serving process last said it was.
type loadStatus struct {
	Load *serve.Load `json:"load,omitempty"`
	text string      // across a network, in place of Load
}

func (s *loadStatus) loadText() string {
	if s.text != "" {
		return s.text
	}
	if s.Load == nil {
		return "not known"
	}
	return s.Load.String()
}
