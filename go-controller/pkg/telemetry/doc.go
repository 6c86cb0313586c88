// Package telemetry has the metrics that master, node agent and databases have in common, and that no package of theirs counts itself. All other
// metrics are beside the code that counts. Registries are passed; there is no global one.
package telemetry
