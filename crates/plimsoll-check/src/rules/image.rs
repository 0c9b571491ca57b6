//! Rules about built images.

pub(in crate::rules) mod look;

family! { "image":
    duplicate_uid,
    empty_password,
    image_waste,
    leftover_files,
    setuid_files,
}

#[cfg(test)]
mod tests;
