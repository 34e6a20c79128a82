// Command kindcheck decodes a kind configuration strictly into kind's own v1alpha4 types.
// It is built in a temporary module by tests/cluster/kind.py, so this folder holds no go.mod.
package main

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	var cluster v1alpha4.Cluster
	if err := decoder.Decode(&cluster); err != nil {
		return err
	}
	if cluster.Kind != "Cluster" || cluster.APIVersion != "kind.x-k8s.io/v1alpha4" {
		return fmt.Errorf("%s is a %s of %s, not a Cluster of kind.x-k8s.io/v1alpha4", path, cluster.Kind, cluster.APIVersion)
	}
	v1alpha4.SetDefaultsCluster(&cluster)
	for _, node := range cluster.Nodes {
		fmt.Printf("%s: %s with %s\n", cluster.Name, node.Role, node.Image)
	}
	return nil
}
