//! What the webhook has done, for Prometheus.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// A family with one label.
type Counters = Family<[(&'static str, &'static str); 1], Counter>;

/// Counts since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    reviews: Counters,
    certificates: Counters,
}

impl Counts {
    /// A review that ended so.
    pub(super) fn review(&self, outcome: &'static str) {
        self.reviews.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A new certificate, taken over or not.
    pub(super) fn certificate(&self, result: &'static str) {
        self.certificates.get_or_create(&[("result", result)]).inc();
    }

    /// As OpenMetrics text.
    pub(super) fn text(&self) -> String {
        let mut registry = Registry::default();
        let reviews = "admission reviews answered, and bodies that were none";
        registry.register("srv6_webhook_reviews", reviews, self.reviews.clone());
        let certificates = "certificates read, the one at the start included";
        registry.register("srv6_webhook_certificates", certificates, self.certificates.clone());
        let mut text = String::new();
        // Writing into a string can't fail.
        let _written = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
