internal import CVersion

/// Which transfusion this is: the same in every program.
public enum ProductVersion {
    /// Semantic versioning: the first number changes when run directories or data sets of before are no longer read.
    public static let number = "0.3.0"

    /// The commit that the program was built from, with `.modified` behind it when its sources differed from that; empty
    /// when that is not known.
    public static var commit: String { String(cString: tf_commit()) }

    /// The number and the commit, as in `0.2.0+682e338a1b2c`.
    public static var full: String { commit.isEmpty ? number : "\(number)+\(commit)" }

    /// What the program was built by.
    public static var compiler: String {
        #if DEBUG
            let kind = "debug"
        #else
            let kind = "release"
        #endif
        return "Swift \(String(cString: tf_swift_version())), \(String(cString: tf_c_compiler())), \(kind)"
    }
}
