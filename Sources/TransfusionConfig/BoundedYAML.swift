internal import Foundation
internal import Yams

/// YAML from a person or from elsewhere, within bounds far above what a configuration needs: it cannot exhaust memory.
enum BoundedYAML {
    private static let mostBytes = 256 << 10
    /// With so few references, what they expand to stays within a few hundred times the file.
    private static let mostAliases = 16

    /// The text of a file.
    static func text(ofFile path: String) throws(ConfigurationProblem) -> String {
        guard let file = FileHandle(forReadingAtPath: path) else {
            let reason = FileManager.default.fileExists(atPath: path) ? "cannot be read" : "there is no such file"
            throw ConfigurationProblem(nil, "\(reason); give the path of a configuration", at: path)
        }
        let contents: Data?
        do {
            contents = try file.read(upToCount: mostBytes + 1)
        } catch {
            throw ConfigurationProblem(nil, "cannot be read as a file; give the path of a configuration", at: path)
        }
        guard contents?.count ?? 0 <= mostBytes else {
            throw ConfigurationProblem(
                nil, "is larger than the \(mostBytes) bytes that a configuration may have", at: path)
        }
        guard let text = String(data: contents ?? Data(), encoding: .utf8) else {
            throw ConfigurationProblem(nil, "is not UTF-8 text; a configuration is a YAML file", at: path)
        }
        return text
    }

    /// The root of a text; nil when it is empty.
    static func compose(_ yaml: String, at place: String) throws(ConfigurationProblem) -> Node? {
        guard yaml.utf8.count <= mostBytes else {
            throw ConfigurationProblem(
                nil, "is larger than the \(mostBytes) bytes that a configuration may have", at: place)
        }
        guard aliases(in: yaml) <= mostAliases else {
            throw ConfigurationProblem(
                nil, "has more than \(mostAliases) YAML aliases, as in *name; write out what they stand for",
                at: place)
        }
        do {
            return try Yams.compose(yaml: yaml)
        } catch let error as YamlError {
            throw ConfigurationProblem(nil, "is not YAML: \(error.reason)", at: place + error.line)
        } catch {
            throw ConfigurationProblem(nil, "is not YAML", at: place)
        }
    }

    /// How many aliases a text has at most. They are counted before the parser sees them, because it expands them.
    ///
    /// An alias stands where a value begins: first on a line, or after one of `[{,:-?`. A comment has none; but what looks
    /// like a comment with a quote in it can be the end of a quoted text that began on an earlier line, and is counted.
    private static func aliases(in yaml: String) -> Int {
        let breaks: [Unicode.Scalar] = ["\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"]
        let blanks: [Unicode.Scalar] = [" ", "\t", "\u{FEFF}"]
        let openings: [Unicode.Scalar] = ["[", "{", ",", ":", "-", "?"]
        var count = 0
        for line in yaml.unicodeScalars.split(whereSeparator: breaks.contains) {
            let lastQuote = line.lastIndex { $0 == "'" || $0 == "\"" }
            var previous: Unicode.Scalar?
            var isAfterBlank = true
            for index in line.indices {
                let scalar = line[index]
                if scalar == "#", isAfterBlank, lastQuote.map({ $0 < index }) ?? true { break }
                isAfterBlank = blanks.contains(scalar)
                if isAfterBlank { continue }
                if scalar == "*", previous.map(openings.contains) ?? true { count += 1 }
                previous = scalar
            }
        }
        return count
    }
}

extension YamlError {
    fileprivate var line: String {
        switch self {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): ":\(mark.line)"
        case .duplicatedKeysInMapping(_, let context): ":\(context.mark.line)"
        default: ""
        }
    }

    fileprivate var reason: String {
        switch self {
        case .reader(let problem, _, _, _): problem
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _): problem
        case .duplicatedKeysInMapping(let duplicates, _): "\(duplicates.joined(separator: ", ")) is given twice"
        default: "it cannot be parsed"
        }
    }
}
