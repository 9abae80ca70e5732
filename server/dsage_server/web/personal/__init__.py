"""The pages of one volunteer, for the browsers that are logged in as them. Nothing of anybody else is here."""
