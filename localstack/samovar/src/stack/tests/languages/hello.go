// A function without a single dependency.
package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	post := func(path string, body any) {
		text, _ := json.Marshal(body)
		answer, err := http.Post(api+path, "application/json", bytes.NewReader(text))
		if err != nil {
			panic(err)
		}
		answer.Body.Close()
	}
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			panic(err)
		}
		var event struct {
			Name string
			Fail bool
		}
		_ = json.NewDecoder(next.Body).Decode(&event)
		next.Body.Close()
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		if event.Fail {
			post(id+"/error", map[string]string{"errorMessage": "as told", "errorType": "Error"})
			continue
		}
		var environment *string
		if value, set := os.LookupEnv("AWS_EXECUTION_ENV"); set {
			environment = &value
		}
		post(id+"/response", map[string]any{
			"hello": event.Name, "function": os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), "handler": os.Getenv("_HANDLER"),
			"trace": next.Header.Get("Lambda-Runtime-Trace-Id"), "executionEnvironment": environment,
		})
	}
}
