//! A message in the forms in which SNS delivers it, by "Parsing message formats" and "Using AWS Lambda with Amazon SNS"
//! in the developer guides.
//!
//! The signature is empty, because no certificate of SNS is here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use samovar_sqs::MessageAttribute;
use serde_json::{Map, Value, json};

use super::Publication;

/// A message of a topic on its way to one subscription.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) topic_arn: &'a str,
    pub(super) subscription_arn: &'a str,
    pub(super) message_id: &'a str,
    pub(super) at_ms: i64,
    /// The text for the subscription's protocol.
    pub(super) text: &'a str,
    pub(super) publication: &'a Publication,
}

const SIGNATURE: &str = "";
const CERTIFICATE: &str =
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-00000000000000000000000000000000.pem";

impl Envelope<'_> {
    /// The body of a queue's message.
    pub(super) fn for_queue(&self) -> String {
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": self.message_id,
            "TopicArn": self.topic_arn,
            "Message": self.text,
            "Timestamp": self.timestamp(),
            "SignatureVersion": "1",
            "Signature": SIGNATURE,
            "SigningCertURL": CERTIFICATE,
            "UnsubscribeURL": self.unsubscribe(),
        });
        if let Some(subject) = &self.publication.subject {
            envelope["Subject"] = subject.as_str().into();
        }
        if !self.publication.attributes.is_empty() {
            envelope["MessageAttributes"] = attributes(&self.publication.attributes);
        }
        envelope.to_string()
    }

    /// The event of a function.
    pub(super) fn for_function(&self) -> String {
        let record = json!({
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": self.subscription_arn,
            "Sns": {
                "Type": "Notification",
                "MessageId": self.message_id,
                "TopicArn": self.topic_arn,
                "Subject": self.publication.subject,
                "Message": self.text,
                "Timestamp": self.timestamp(),
                "SignatureVersion": "1",
                "Signature": SIGNATURE,
                "SigningCertUrl": CERTIFICATE,
                "UnsubscribeUrl": self.unsubscribe(),
                "MessageAttributes": attributes(&self.publication.attributes),
            },
        });
        json!({ "Records": [record] }).to_string()
    }

    fn timestamp(&self) -> String {
        let at = Timestamp::from_millisecond(self.at_ms).unwrap_or_default();
        format!("{at:.3}")
    }

    fn unsubscribe(&self) -> String {
        let arn = self.subscription_arn;
        format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={arn}")
    }
}

fn attributes(attributes: &BTreeMap<String, MessageAttribute>) -> Value {
    let one = |(name, attribute): (&String, &MessageAttribute)| {
        let value = match (&attribute.string_value, &attribute.binary_value) {
            (Some(text), _) => text.clone(),
            (None, bytes) => STANDARD.encode(bytes.as_deref().unwrap_or_default()),
        };
        (name.clone(), json!({ "Type": attribute.data_type, "Value": value }))
    };
    attributes.iter().map(one).collect::<Map<_, _>>().into()
}
