// The files of Templates and Static, as the build puts them into the program.

enum Embedded {
    static let templates: KeyValuePairs<String, [UInt8]> = [
        "layout": PackageResources.layout_mustache,
        "sign-in": PackageResources.sign_in_mustache,
        "refusal": PackageResources.refusal_mustache,
        "create": PackageResources.create_mustache,
        "progress": PackageResources.progress_mustache,
        "steps": PackageResources.steps_mustache,
        "steps-piece": PackageResources.steps_piece_mustache,
        "home": PackageResources.home_mustache,
        "home-mail": PackageResources.home_mail_mustache,
        "home-container": PackageResources.home_container_mustache,
        "home-keys": PackageResources.home_keys_mustache,
        "home-client": PackageResources.home_client_mustache,
        "home-records": PackageResources.home_records_mustache,
        "records": PackageResources.records_mustache,
        "records-table": PackageResources.records_table_mustache,
        "records-piece": PackageResources.records_piece_mustache,
        "rebuild": PackageResources.rebuild_mustache,
        "delete": PackageResources.delete_mustache,
        "log": PackageResources.log_mustache,
        "message": PackageResources.message_mustache,
        "admin": PackageResources.admin_mustache,
        "queue": PackageResources.queue_mustache,
    ]
    /// look.css is webmail's too.
    static let style = PackageResources.look_css + PackageResources.portal_css
    static let script = PackageResources.portal_js
    static let icon = PackageResources.icon_svg
}
