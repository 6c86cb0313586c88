// Package modelgen pins the generator of the OVSDB models.
package modelgen
