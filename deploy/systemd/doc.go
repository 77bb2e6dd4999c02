// Package systemd has only tests: they have systemd itself look at gnomon.service.
package systemd
