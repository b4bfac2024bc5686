extension ConfigurationKey {
    /// The reference of all keys as Markdown: the part of docs/configuration.md that is made from this table.
    public static var reference: String {
        var text = ""
        var section: Substring?
        for key in all {
            let heading = key.path.contains(".") ? key.path.prefix { $0 != "." } : "run"
            if heading != section {
                text += "\n### \(heading)\n\n| key | values | default | on resume | meaning |\n|---|---|---|---|---|\n"
                section = heading
            }
            let defaultValue =
                key.defaultValue.map { $0.contains(" ") ? $0 : "`\($0.replacing("\"", with: ""))`" } ?? "needed"
            let values = key.values.replacing("|", with: "\\|")
            text += "| `\(key.path)` | \(values) | \(defaultValue) | \(key.mayChangeOnResume ? "may change" : "fixed") "
            text += "| \(key.summary) |\n"
        }
        return text
    }
}
