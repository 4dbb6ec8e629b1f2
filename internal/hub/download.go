package hub

import "github.com/tidemark-sync/tidemark/internal/wire"

// A Download is how far a device has come with rows that it did not have, as this
// process sent them. The zero Download: none is under way.
type Download struct {
	Sent uint64 // bytes, packed
	Size uint64 // of all of it; 0: not known
}

// gave notes how far a download has come.
func (s *Session) gave(d Download, done bool) {
	if done {
		d = Download{}
	}
	s.hub.note(s.device, func(p *presence) { p.download = d })
}

// gaveChunk notes a chunk of rows, whose whole size nobody knows.
func (s *Session) gaveChunk(c *wire.Chunk, first bool) {
	s.hub.note(s.device, func(p *presence) {
		switch {
		case c.Done:
			p.download = Download{}
		case first:
			p.download = Download{Sent: uint64(len(c.Body))}
		default:
			p.download = Download{Sent: p.download.Sent + uint64(len(c.Body))}
		}
	})
}
