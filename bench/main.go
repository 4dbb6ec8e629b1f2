package main

import ("os";"fmt")

func main() {
	if name := os.Getenv(roleVariable); name != "" {
		if err := serve(roles[name](), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
}
