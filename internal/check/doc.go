// Package check compiles and evaluates the CEL rules that tidemark.yaml declares
// for the rows of a table:
//
//	checks:
//	  - name: price is not negative
//	    expr: row.price >= 0
//	    message: the price must not be negative
//	  - name: paid stays paid
//	    expr: old == null || old.paid == 0 || row.paid == 1
//
// row is the row as it is to become, old as it was (null on insert). A column
// whose name is no identifier is written row["unit price"]. Integers are int,
// reals double, text string, blobs bytes; numbers of both kinds can be compared
// with each other, but arithmetic between them needs double(…) or int(…), and
// SQLite keeps a boolean as 0 or 1.
//
// NULL works as in an SQL CHECK: a rule that has no answer because a column it
// reads is NULL (or because there is no old row) is not broken. Any other rule
// without an answer is. Evaluation is bounded by a cost, not by a clock, so every
// hub comes to the same verdict.
package check
