package hub

import (
	"errors"
	"fmt"
)

// kindOpen marks the receipts that wait for nobody's eye but a person's: those that are
// neither undone nor accepted, and are no undo themselves, which was a person's own
// doing. By receipt: nothing. To count them, no receipt is read.
const kindOpen = "receipt-open"

// allMarked is beside the marks when no receipt lacks its own: a database of an older
// version has none. It comes before all ids.
const allMarked = "!"

// kindUndo is the Receipt.Kind of an undo.
const kindUndo = "undo"

// open reports whether nobody looked at a decision.
func (r *Receipt) open() bool { return r.State() == NewReceipt }

// markReceipt notes whether a receipt is open, in the transaction that writes it.
func (h *Hub) markReceipt(tx Tx, r *Receipt, isNew bool) error {
	if err := h.markAll(tx); err != nil {
		return err
	}
	var body []byte
	switch {
	case r.open():
		body = []byte{'1'}
	case isNew:
		return nil
	}
	if err := tx.PutRecord(kindOpen, r.ID, body); err != nil {
		return fmt.Errorf("mark receipt %s: %w", r.ID, err)
	}
	return nil
}

// markAll marks the receipts of before there were marks, once.
func (h *Hub) markAll(tx Tx) error {
	if h.known.marked.Load() {
		return nil
	}
	_, err := tx.Record(kindOpen, allMarked)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	var ids []string
	err = eachOpen(tx, func(id string) { ids = append(ids, id) })
	if err != nil {
		return err
	}
	for _, id := range append(ids, allMarked) {
		if err := tx.PutRecord(kindOpen, id, []byte{'1'}); err != nil {
			return fmt.Errorf("mark receipt %s: %w", id, err)
		}
	}
	return nil
}

// openReceipts counts the receipts that nobody looked at.
func (h *Hub) openReceipts(v View) (n int, err error) {
	switch _, err = v.Record(kindOpen, allMarked); {
	case errors.Is(err, ErrNotFound):
		err = eachOpen(v, func(string) { n++ })
	case err == nil:
		h.known.marked.Store(true)
		n = -1 // for allMarked itself
		err = eachID(v, kindOpen, "", func(string) error { n++; return nil })
	}
	return n, err
}

// eachOpen reads all receipts for those that are open.
func eachOpen(v View, fn func(id string)) error {
	return eachRecord(v, kindReceipt, "", func(id string, body []byte) error {
		r, err := decodeReceipt(id, body)
		if err == nil && r.open() {
			fn(id)
		}
		return err
	})
}
