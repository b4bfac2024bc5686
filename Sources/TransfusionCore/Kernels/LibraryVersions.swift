internal import COneDNN
internal import COpenBLAS

/// The libraries that compute, as they are here and now: another one may have been installed since the build.
public enum LibraryVersions {
    /// OpenBLAS' number, and what it says of how it was built, as in `0.3.21 DYNAMIC_ARCH NO_AFFINITY SkylakeX`.
    public static var openBLAS: String {
        let text = openblas_get_config().map { String(cString: $0) } ?? ""
        return text.hasPrefix("OpenBLAS ") ? String(text.dropFirst(9)) : text
    }

    public static var oneDNN: String {
        guard let version = dnnl_version()?.pointee else { return "" }
        return "\(version.major).\(version.minor).\(version.patch)"
    }
}
