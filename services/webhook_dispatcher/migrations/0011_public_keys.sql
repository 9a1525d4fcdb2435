-- Asymmetric signatures (v1a): what is sealed is then the seed of an ed25519 key, whose public part anybody may see.
alter table endpoint_secret add column public_key bytea check (length(public_key) = 32);
