extension RunConfiguration {
    /// The whole configuration as YAML, every key given. Read back, it is the same configuration.
    public var resolved: String {
        var text = ""
        var openSections: [Substring] = []
        for key in ConfigurationKey.all {
            guard (key.task ?? task) == task, let value = key.write(self) else { continue }
            let names = key.path.split(separator: ".")
            let sections = Array(names.dropLast())
            let shared = zip(sections, openSections).prefix { $0 == $1 }.count
            for depth in shared..<sections.count {
                text += String(repeating: "  ", count: depth) + "\(sections[depth]):\n"
            }
            text += String(repeating: "  ", count: sections.count) + "\(names[sections.count]): \(value)\n"
            openSections = sections
        }
        return text
    }

    /// A key whose value differs between two configurations.
    public struct Difference: Sendable, Equatable, CustomStringConvertible {
        public let key: String
        public let old: String
        public let new: String
        /// Whether a run may go on with the new value.
        public let mayChangeOnResume: Bool

        public var description: String { "\(key): \(old) → \(new)" }
    }

    /// The keys whose values differ from those of `old`.
    public func differences(from old: RunConfiguration) -> [Difference] {
        ConfigurationKey.all.compactMap { key in
            guard let before = key.write(old), let after = key.write(self), before != after else { return nil }
            return Difference(key: key.path, old: before, new: after, mayChangeOnResume: key.mayChangeOnResume)
        }
    }
}
