package postgresstore

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A row that comes back is there before it is changed, whatever comes beside it: the
// parent that is written last is moved before the rows that may point at it.
func TestARowComesBeforeItsChanges(t *testing.T) {
	c1, c9, i9 := change.Text("c1"), change.Text("c9"), change.Int(9)
	customer := put1("customer", "id region name", c9, change.Text("north"), change.Text("Zoe"))
	invoice := put1("invoice", "id customer_id total", i9, c9, change.Text("1.00"))
	for name, list := range map[string][]hub.Effect{
		"changed":         {invoice, set1("invoice", i9, "total", change.Text("2.00")), customer},
		"changed twice":   {invoice, set1("invoice", i9, "total", change.Text("3.00")), set1("invoice", i9, "total", change.Text("2.00")), customer},
		"gone again":      {invoice, del1("invoice", i9), invoice, set1("invoice", i9, "total", change.Text("2.00")), customer},
		"parent goes":     {del1("customer", change.Text("c2")), invoice, set1("invoice", i9, "total", change.Text("2.00")), customer},
		"child pointed":   {invoice, set1("invoice", i9, "total", change.Text("2.00")), set1("invoice", i9, "customer_id", c1), customer, set1("invoice", i9, "customer_id", c9)},
		"came and went":   {customer, invoice, del1("invoice", i9), invoice, set1("invoice", i9, "total", change.Text("2.00"))},
		"went and stayed": {customer, invoice, set1("invoice", i9, "total", change.Text("2.00")), put1("line", "id invoice_id what", i9, i9, change.Text("x")), del1("line", i9)},
	} {
		s, dsn := shop(t, family)
		if err := write(t, s, list...); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		expect(t, name, psql(t, dsn, `SELECT i.customer_id, i.total, c.name, (SELECT count(*) FROM line WHERE invoice_id = 9) FROM invoice i JOIN customer c ON c.id = i.customer_id WHERE i.id = 9`), "c9|2.00|Zoe|0")
	}
}
