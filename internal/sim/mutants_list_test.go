package sim

// mutants are the classic mistakes of sync systems.
var mutants = []mutant{}
