// Package cache keeps encoded parts that many devices ask for.
//
// What is filed under a key never changes: the key holds all that the value depends
// on, the cursor of the state it shows included. So nothing is ever invalidated, and a
// cache that forgets, or is gone, costs time and nothing else.
//
// Memory is one process's. Redis shares with other processes of the same hub, behind a
// Memory: whoever finds nothing takes a lease and makes the value while others, here
// and elsewhere, wait for it. Values in Redis are sealed with a key of the hub's:
// whoever can read or write that server learns nothing of rows, and cannot make any up.
package cache
