// Sends each message back to its client, by the address that its event has and by the one that the API has on AWS.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

type event struct {
	Body           string
	RequestContext struct{ DomainName, Stage, ConnectionID, APIID string }
}

// post sends a text and gives what went wrong.
func post(url, text string) error {
	answer, err := http.Post(url, "application/json", strings.NewReader(text))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err = io.ReadAll(answer.Body); err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return err
}

func handle(event event) error {
	context := event.RequestContext
	path := context.Stage + "/@connections/" + context.ConnectionID
	for _, host := range []string{context.DomainName, context.APIID + ".execute-api.us-east-1.amazonaws.com"} {
		if err := post("https://"+host+"/"+path, event.Body); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			panic(err)
		}
		var given event
		if err = json.NewDecoder(next.Body).Decode(&given); err != nil {
			panic(err)
		}
		next.Body.Close()
		how, body := "/response", `{"statusCode":200}`
		if err = handle(given); err != nil {
			told, _ := json.Marshal(map[string]string{"errorType": "Error", "errorMessage": err.Error()})
			how, body = "/error", string(told)
		}
		if err = post(api+next.Header.Get("Lambda-Runtime-Aws-Request-Id")+how, body); err != nil {
			panic(err)
		}
	}
}
