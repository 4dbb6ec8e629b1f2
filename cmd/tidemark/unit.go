package main

import (
	"time"

	"github.com/tidemark-sync/tidemark/internal/config"
)

// A sizeFlag is a flag that reads sizes as tidemark.yaml does.
type sizeFlag config.Size

func (f *sizeFlag) Set(s string) error {
	n, err := config.ParseSize(s)
	*f = sizeFlag(n)
	return err
}

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return config.Size(*f).String()
}

func (f *sizeFlag) Type() string { return "size" }

// An ageFlag is a flag that reads durations as tidemark.yaml does: 30d, 12h.
type ageFlag time.Duration

func (f *ageFlag) Set(s string) error {
	d, err := config.ParseDuration(s)
	*f = ageFlag(d)
	return err
}

func (f *ageFlag) String() string {
	if *f == 0 {
		return ""
	}
	return config.FormatDuration(time.Duration(*f))
}

func (f *ageFlag) Type() string { return "duration" }
