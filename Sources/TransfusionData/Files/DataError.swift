public import TransfusionCore

/// Why data could not be read, made or written: one line that names the file or setting and the remedy.
public struct DataError: UsageError, Equatable {
    public let description: String
    /// Whether a setting is wrong, which can be seen before any work, and not what was read or written.
    public let isWrongUse: Bool

    public init(_ description: String) {
        self.init(description, isWrongUse: false)
    }

    init(_ path: String, _ problem: String) {
        self.init("\(path): \(problem)")
    }

    init(wrongUse description: String) {
        self.init(description, isWrongUse: true)
    }

    private init(_ description: String, isWrongUse: Bool) {
        self.description = description
        self.isWrongUse = isWrongUse
    }
}
