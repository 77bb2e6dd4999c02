package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The telling parts of licence texts, laid out as modules have them.
const (
	mitText = `The MIT License (MIT)

Copyright (c) 2016 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software, to deal in it without restriction, subject to the following conditions:

The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software.
`
	bsd2Text = `Copyright (c) 2013 The Somebody Authors. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:
1. the copyright notice stays in the source,
2. and comes with binaries.
`
	bsd3Text = bsd2Text + "3. Neither the name of Somebody nor the names of its contributors may be used to\n   endorse or promote products derived from this software.\n"
	bsd4Text = bsd3Text + "4. All advertising materials mentioning features or use of this software must say so.\n"
	iscText  = `Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.
`
	apacheNotice = `Copyright (c) 2017-2025 Somebody and friends

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
`
	eplText = "Eclipse Public License - v 2.0 (EPL-2.0)\n\nTHE ACCOMPANYING PROGRAM IS PROVIDED UNDER ITS TERMS.\n"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	apache, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"no licence", "All of this is mine.", nil},
		{"MIT", mitText, []string{"MIT"}},
		{"MIT in one line", strings.Join(strings.Fields(mitText), " "), []string{"MIT"}},
		{"MIT as a comment", "// " + strings.ReplaceAll(mitText, "\n", "\n// "), []string{"MIT"}},
		{"MIT without a condition", mitText[:strings.Index(mitText, "The above")], []string{"MIT-0"}},
		{"MIT with a condition of its own", mitText + "The Software shall be used for Good, not Evil.", []string{"JSON"}},
		{"MIT restricted", mitText + "\"Commons Clause\" License Condition v1.0", []string{"LicenseRef-Commons-Clause", "MIT"}},
		{"BSD with two clauses", bsd2Text, []string{"BSD-2-Clause"}},
		{"BSD with three clauses", bsd3Text, []string{"BSD-3-Clause"}},
		{"BSD with an advertising clause", bsd4Text, []string{"BSD-4-Clause"}},
		{"two BSD, the first shorter", bsd2Text + bsd3Text, []string{"BSD-2-Clause", "BSD-3-Clause"}},
		{"two BSD, the first longer", bsd3Text + bsd2Text, []string{"BSD-2-Clause", "BSD-3-Clause"}},
		{"the same twice", bsd3Text + bsd3Text, []string{"BSD-3-Clause"}},
		{"ISC", iscText, []string{"ISC"}},
		{"0BSD", strings.Replace(iscText, "provided that", "whether or not", 1), []string{"0BSD"}},
		{"Apache, whole", string(apache), []string{"Apache-2.0"}},
		{"Apache, notice", apacheNotice, []string{"Apache-2.0"}},
		{"Apache 1.1 is another licence", "Licensed under the Apache License, Version 1.1", nil},
		{"Apache beside MIT", mitText + apacheNotice, []string{"Apache-2.0", "MIT"}},
		{"MPL", "Mozilla Public License Version 2.0\n====\n\n1. Definitions", []string{"MPL-2.0"}},
		{"MPL names the GPL as secondary", "Mozilla Public License, version 2.0\n\n1. Definitions\n1.12. \"Secondary License\" means the GNU General Public License, Version 2.0", []string{"MPL-2.0"}},
		{"EPL", eplText, []string{"EPL-2.0"}},
		{"EPL 1", "Eclipse Public License - v 1.0", []string{"EPL-1.0"}},
		{"GPL", "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007", []string{"GPL-3.0"}},
		{"LGPL", "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", []string{"LGPL-2.1"}},
		{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007", []string{"AGPL-3.0"}},
		{"GPL by mention, beside MIT", mitText + "You may also use it under the terms of the GNU GPL.", []string{"LicenseRef-GNU", "MIT"}},
		{"Unlicense", "This is free and unencumbered software released into the public domain.", []string{"Unlicense"}},
		{"Zlib", "Altered source versions must be plainly marked as such", []string{"Zlib"}},
		{"BUSL", "Business Source License 1.1", []string{"BUSL-1.1"}},
		{"SSPL", "Server Side Public License\nVERSION 1", []string{"SSPL-1.0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, classify(tt.text)); diff != "" {
				t.Errorf("classify (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzClassify: what a text is does not depend on its layout, and comes sorted and without repetition.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"", mitText, bsd2Text, bsd4Text, iscText, apacheNotice, eplText, mitText + bsd3Text, "2.0 v.2 \x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids := classify(s)
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) || slices.Contains(ids, "") {
			t.Fatalf("classify gives %q", ids)
		}
		if again := classify("  * " + strings.ReplaceAll(s, " ", "\n # ")); !slices.Equal(ids, again) {
			t.Fatalf("%q, laid out otherwise %q", ids, again)
		}
	})
}
