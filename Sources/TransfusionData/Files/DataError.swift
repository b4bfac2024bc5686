/// Why data could not be read, made or written: one line that names the file or setting and the remedy.
public struct DataError: Error, Equatable, CustomStringConvertible, Sendable {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }

    init(_ path: String, _ problem: String) {
        description = "\(path): \(problem)"
    }
}
