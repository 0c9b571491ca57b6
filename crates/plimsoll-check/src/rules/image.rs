//! Rules about built images.

family! { "image":
}
