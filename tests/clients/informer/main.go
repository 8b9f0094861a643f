// Informer prints, a line each, what a client-go informer of a namespace's ConfigMaps tells its handlers.
//
//	informer KUBECONFIG NAMESPACE
//
// Lines are "synced", "add NAME", "update NAME" and "delete NAME". A line on standard input is answered with "cache" and what
// the informer's cache holds then, as NAME=VERSION in order. It ends when standard input does.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var printing sync.Mutex

func say(words ...string) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(strings.Join(words, " "))
}

func name(object any) string {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	found, err := meta.Accessor(object)
	if err != nil {
		return err.Error()
	}
	return found.GetName()
}

func run(kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	informer := dynamicinformer.NewFilteredDynamicInformer(client, resource, namespace, 0, cache.Indexers{}, nil).Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { say("add", name(object)) },
		UpdateFunc: func(_, object any) { say("update", name(object)) },
		DeleteFunc: func(object any) { say("delete", name(object)) },
	})
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go informer.Run(stop)
	if !cache.WaitForCacheSync(context.Background().Done(), informer.HasSynced) {
		return fmt.Errorf("the cache did not sync")
	}
	say("synced")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var held []string
		for _, object := range informer.GetStore().List() {
			found := object.(metav1.Object)
			held = append(held, found.GetName()+"="+found.GetResourceVersion())
		}
		sort.Strings(held)
		say(append([]string{"cache"}, held...)...)
	}
	close(stop)
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
