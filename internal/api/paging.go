package api

import (
	"encoding/base64"
	"encoding/json"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// The sizes of pages.
const (
	defaultPage = 100
	maxPage     = 1000
)

func pageSize(p *pb.Page) int {
	switch n := p.GetPageSize(); {
	case n == 0:
		return defaultPage
	case n > maxPage:
		return maxPage
	default:
		return int(n)
	}
}

// A page token is where to go on, in a form that nobody should read: it may change.
func tokenOut(where any) string {
	b, err := json.Marshal(where)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// tokenIn reads a page token; ok is false when there is none.
func tokenIn(p *pb.Page, where any) (ok bool, err error) {
	if p.GetPageToken() == "" {
		return false, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(p.GetPageToken())
	if err == nil {
		err = json.Unmarshal(b, where)
	}
	if err != nil {
		return false, fault(connect.CodeInvalidArgument, "page-token", "page.page_token: this is no page token of this list", "begin again without one")
	}
	return true, nil
}
