//! Physical quantities as newtypes: one unit and one sign for the whole house.
