internal import Foundation
internal import TransfusionConfig

extension ExperimentReport {
    var markdown: String {
        var parts = ["# \(Self.escapedForMarkdown(experiment.title))", progress]
        if !experiment.note.isEmpty { parts.append(Self.escapedForMarkdown(experiment.note)) }
        for table in tables {
            let lines = [table.columns, table.columns.map { _ in "---" }] + table.rows
            let text = lines.map { cells in "| " + cells.map(Self.escapedForMarkdown).joined(separator: " | ") + " |" }
            parts.append("## \(table.title)\n\n" + text.joined(separator: "\n"))
            if !table.remark.isEmpty { parts.append(Self.escapedForMarkdown(table.remark)) }
        }
        if trials.contains(where: { $0.result != nil }) { parts.append("## Losses\n\n![losses](losses.svg)") }
        let pictures = pictures
        if !pictures.isEmpty {
            parts.append(
                "## Pictures\n\n"
                    + pictures.map { "\($0.trial.name):\n\n![\($0.trial.name)](results/\($0.trial.name).png)" }
                    .joined(separator: "\n\n"))
        }
        return parts.joined(separator: "\n\n") + "\n"
    }

    var html: String {
        var body = "<h1>\(Self.escapedForHTML(experiment.title))</h1>\n<p>\(Self.escapedForHTML(progress))</p>\n"
        if !experiment.note.isEmpty { body += "<p>\(Self.escapedForHTML(experiment.note))</p>\n" }
        for table in tables { body += Self.html(table) }
        if trials.contains(where: { $0.result != nil }) { body += "<h2>Losses</h2>\n\(curves)" }
        let pictures = pictures
        if !pictures.isEmpty { body += "<h2>Pictures</h2>\n" }
        for (trial, path) in pictures {
            guard let png = FileManager.default.contents(atPath: path), png.count <= ExperimentStore.largestPicture
            else { continue }
            body +=
                "<figure><figcaption>\(trial.name)</figcaption><img alt=\"samples of \(trial.name)\" "
                + "src=\"data:image/png;base64,\(png.base64EncodedString())\"></figure>\n"
        }
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>\(Self.escapedForHTML(experiment.title))</title>
            <style>
            body { font: 15px/1.5 sans-serif; color: #222; max-width: 75em; margin: 2em auto; padding: 0 1em }
            table { border-collapse: collapse; display: block; overflow-x: auto }
            th, td { border-bottom: 1px solid #ccc; padding: .3em .8em; text-align: right; white-space: nowrap }
            th:first-child, td:first-child, table.text td { text-align: left }
            p.remark { color: #666; font-size: 13px } img, svg { max-width: 100%; height: auto }
            </style></head><body>
            \(body)</body></html>

            """
    }

    private static func html(_ table: Table) -> String {
        func row(_ cells: [String], _ tag: String) -> String {
            "<tr>" + cells.map { "<\(tag)>\(escapedForHTML($0))</\(tag)>" }.joined() + "</tr>\n"
        }
        let isText = table.columns.count == 2
        return "<h2>\(escapedForHTML(table.title))</h2>\n<table\(isText ? " class=\"text\"" : "")>\n<thead>"
            + row(table.columns, "th") + "</thead><tbody>\n" + table.rows.map { row($0, "td") }.joined()
            + "</tbody></table>\n"
            + (table.remark.isEmpty ? "" : "<p class=\"remark\">\(escapedForHTML(table.remark))</p>\n")
    }

    static func escapedForHTML(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    private static func escapedForMarkdown(_ text: String) -> String {
        text.replacing("\n", with: " ").replacing("|", with: "\\|").replacing("<", with: "&lt;")
    }
}
