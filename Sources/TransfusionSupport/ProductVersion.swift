/// Which transfusion this is: the same in every program.
public enum ProductVersion {
    /// Semantic versioning: the first number changes when run directories or data sets of before are no longer read.
    public static let number = "0.2.0"
}
