// Sentences of what is around every page, of signing in, and of what is refused.

extension Words {
    static let frame: Sentences = [
        "frame.skip": ("Skip to the content", "Aller au contenu"),
        "frame.navigation": ("Pages", "Pages"),
        "frame.home": ("Mailbox", "Boîte"),
        "frame.log": ("Deliveries", "Livraisons"),
        "frame.admin": ("Administration", "Administration"),
        "frame.signOut": ("Sign out", "Se déconnecter"),
        "frame.signOutEverywhere": ("Sign out everywhere", "Se déconnecter partout"),
        "frame.signedInAs": ("signed in as", "connecté en tant que"),
        "frame.footer": ("A mailbox, a disk and a container for everybody", "Une boîte, un disque et un conteneur pour chacun"),
    ]

    static let signInPage: Sentences = [
        "signIn.title": ("Sign in", "Se connecter"),
        "signIn.lead": ("With the name and password of your organisation's directory.", "Avec le nom et le mot de passe de l'annuaire de votre organisation."),
        "signIn.user": ("User name", "Identifiant"),
        "signIn.password": ("Password", "Mot de passe"),
        "signIn.button": ("Sign in", "Se connecter"),
        "signIn.wrong": ("Name or password is not right.", "L'identifiant ou le mot de passe n'est pas le bon."),
        "signIn.slow": (
            "Too many wrong passwords lately. Try again in %1 minutes.", "Trop de mots de passe erronés récemment. Réessayez dans %1 minutes."),
        "signIn.slowOne": ("Too many wrong passwords lately. Try again in a minute.", "Trop de mots de passe erronés récemment. Réessayez dans une minute."),
        "signIn.unavailable": (
            "The directory does not answer just now, so passwords cannot be checked. Try again in a moment.",
            "L'annuaire ne répond pas pour le moment, et les mots de passe ne peuvent être vérifiés. Réessayez dans un instant."),
        "signIn.badName": (
            "The directory calls you %1, and no mailbox can belong to such a name: it has small letters, digits, dots, hyphens and underscores. Ask your administrator.",
            "L'annuaire vous nomme %1, et aucune boîte ne peut appartenir à un tel nom : il n'a que des minuscules, chiffres, points, tirets et tirets bas. Adressez-vous à votre administrateur."),
        "signIn.out": ("You are signed out.", "Vous êtes déconnecté."),
        "signIn.outEverywhere": ("You are signed out on all devices.", "Vous êtes déconnecté de tous les appareils."),
    ]

    static let refusals: Sentences = [
        "refusal.title": ("That did not work", "Cela n'a pas fonctionné"),
        "refusal.notFoundTitle": ("There is nothing here", "Il n'y a rien ici"),
        "refusal.back": ("Back to the start", "Retour au début"),
        "refusal.notFound": ("This page does not exist, or no longer does, or is somebody else's.", "Cette page n'existe pas, ou plus, ou appartient à quelqu'un d'autre."),
        "refusal.forbidden": ("This page is not for you.", "Cette page ne vous est pas destinée."),
        "refusal.malformed": ("The browser has sent something that no form here has.", "Le navigateur a envoyé ce qu'aucun formulaire d'ici ne contient."),
        "refusal.tooLarge": ("What was sent is too large.", "L'envoi est trop volumineux."),
        "refusal.tooSlow": ("What was sent came too slowly.", "L'envoi était trop lent."),
        "refusal.foreignForm": (
            "This form is too old, or was not made here. Nothing was done. Go back, load the page again, and try once more.",
            "Ce formulaire est trop ancien, ou ne vient pas d'ici. Rien n'a été fait. Revenez en arrière, rechargez la page et réessayez."),
        "refusal.busy": ("Too much is asked for at once just now. Try again in a moment.", "Trop de demandes à la fois en ce moment. Réessayez dans un instant."),
        "refusal.broken": (
            "Something is wrong with this server; its administrator finds the reason in the log. Nothing was done.",
            "Ce serveur a un problème ; son administrateur en trouvera la raison dans le journal. Rien n'a été fait."),
        "refusal.notRequested": (
            "What you asked for could not be written down, so nothing will happen. Its administrator finds the reason in the log.",
            "Votre demande n'a pas pu être enregistrée, et rien ne se passera. L'administrateur en trouvera la raison dans le journal."),
        "refusal.noExport": ("The messages cannot be read just now. Try again in a moment.", "Les messages ne peuvent être lus pour le moment. Réessayez dans un instant."),
    ]
}
