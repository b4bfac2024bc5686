internal import Yams

extension ValueForm where Value == [RunConfiguration.DataSet.Source] {
    private static var mostSources: Int { 64 }

    /// A list of data sets with their weights, each `{path: …, weight: …, from_step: …}`.
    static func sources(path: ValueForm<String>) -> ValueForm {
        let description = "list of at most \(mostSources) {path, weight, from_step}"
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let nodes = node.sequence, nodes.count <= mostSources else {
                throw UnsuitableValue(message: "must be a \(description)")
            }
            var sources: [RunConfiguration.DataSet.Source] = []
            for item in nodes {
                do throws(UnsuitableValue) {
                    sources.append(try source(item, path))
                } catch {
                    throw UnsuitableValue(message: "source \(sources.count + 1): \(error.message)")
                }
            }
            return sources
        } write: { sources in
            let items = sources.map { source in
                "{path: \(YAMLText.quoted(source.path)), weight: \(YAMLText.number(source.weight)), "
                    + "from_step: \(source.fromStep)}"
            }
            return "[" + items.joined(separator: ", ") + "]"
        }
    }

    private static func source(
        _ node: Node, _ path: ValueForm<String>
    ) throws(UnsuitableValue) -> RunConfiguration.DataSet.Source {
        guard let mapping = node.mapping else {
            throw UnsuitableValue(message: "must have the form {path: …, weight: …, from_step: …}")
        }
        var source = RunConfiguration.DataSet.Source(path: "")
        for (name, value) in mapping {
            let name = name.scalar?.string ?? ""
            func read<Part>(_ form: ValueForm<Part>) throws(UnsuitableValue) -> Part {
                do throws(UnsuitableValue) {
                    return try form.read(value)
                } catch {
                    throw UnsuitableValue(message: "\(name) \(error.message)")
                }
            }
            switch name {
            case "path": source.path = try read(path)
            case "weight": source.weight = try read(.number(0...1e9))
            case "from_step": source.fromStep = try read(.integer(0...999_999_999))
            default:
                throw UnsuitableValue(
                    message: "there is no \(YAMLText.escaped(name.prefix(60))); there are path, weight, from_step")
            }
        }
        guard !source.path.isEmpty else { throw UnsuitableValue(message: "path is needed") }
        return source
    }
}
